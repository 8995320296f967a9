"""The rules of `develop.watch` (compose-spec, develop.md): which files concern them, and where a copied file goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from engine.ignore import Ignore
from engine.spec.container import ExecSpec

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.model.build import Build
    from composer.model.hook import Hook
    from composer.model.mount import Mount

EPHEMERAL = Ignore(
    (
        "**/.git",
        "**/*~", "**/.*.sw[a-z]", "**/4913",  # vim
        "**/#*#", "**/.#*",  # emacs
        "**/.idea", "**/*___jb_tmp___", "**/*___jb_old___",  # JetBrains
        "**/.*.kate-swp", "**/.goutputstream-*",  # kate, gedit
    )
)  # fmt: skip
"""Files that never belong to sources."""


COPIES = ("sync", "sync+restart")
"""Actions that a bind mount of the path makes needless."""


class Rule:
    """One entry of a service's develop.watch; `path` is absolute. `context` is the service's build context ("": none),
    and `excluded` the patterns of its .dockerignore."""

    __slots__ = (
        "action", "context", "excluded", "exec", "ignore", "include", "initial_sync", "path", "service", "target",
    )  # fmt: skip

    def __init__(
        self,
        service: str,
        path: str,
        action: str,
        *,
        target: str = "",
        ignore: Sequence[str] = (),
        include: Sequence[str] = (),
        initial_sync: bool = False,
        exec: ExecSpec | None = None,
        context: str = "",
        excluded: Sequence[str] = (),
    ) -> None:
        self.service, self.path, self.action, self.target = service, path.rstrip("/") or "/", action, target
        self.ignore = Ignore(ignore, f"service {service}: develop.watch: ignore")
        self.include = Ignore(include, f"service {service}: develop.watch: include") if include else None
        self.initial_sync, self.exec = initial_sync, exec
        self.context, self.excluded = context, Ignore(excluded)

    def concerns(self, path: str) -> bool:
        """Whether the rule applies to a changed file."""
        if path == self.path:
            return True
        if not path.startswith(self.path.rstrip("/") + "/"):
            return False
        if self.ignores(path):
            return False
        return self.include is None or self.include.matches(os.path.relpath(path, self.path))

    def ignores(self, path: str, *, whole: bool = False) -> bool:
        """Whether a path below the rule's `path` is ignored; with `whole`, if it is a folder, everything in it."""
        inside = os.path.relpath(path, self.path)
        lists = [(self.ignore, inside), (EPHEMERAL, inside)]
        if self.context and path.startswith(self.context.rstrip("/") + "/"):
            lists.append((self.excluded, os.path.relpath(path, self.context)))
        return any(patterns.prunes(name) if whole else patterns.matches(name) for patterns, name in lists)

    def destination(self, path: str) -> str:
        """The path of a changed file in the container."""
        return self.target if path == self.path else f"{self.target.rstrip('/')}/{os.path.relpath(path, self.path)}"


def rules_of(context: Context, services: Sequence[str]) -> list[Rule]:
    """The rules of these services (empty: all). Raises CommandError if there are none, or one cannot work."""
    rules: list[Rule] = []
    for name, service in context.project.services.items():
        if (services and name not in services) or service.develop is None:
            continue
        context_folder, excluded = _excluded(service.build)
        for entry in service.develop.watch:
            if entry.action == "rebuild" and service.build is None:
                raise CommandError(
                    f"service {name}: develop.watch cannot rebuild {entry.path}: the service has no build section"
                )
            if entry.action == "sync+exec" and not (entry.exec and entry.exec.command):
                raise CommandError(f"service {name}: develop.watch: sync+exec of {entry.path} needs exec.command")
            if entry.action.startswith("sync") and not entry.target:
                raise CommandError(f"service {name}: develop.watch: {entry.action} of {entry.path} needs a target")
            if entry.by_older_name:
                context.warn("x-initialSync is DEPRECATED, please use the official `initial_sync` attribute")
            if entry.action in COPIES and _is_mounted(entry.path, service.volumes):
                context.warn(f"path '{entry.path}' also declared by a bind mount volume, this path won't be monitored!")
                continue
            rules.append(
                Rule(
                    name,
                    entry.path,
                    entry.action,
                    target=entry.target,
                    ignore=entry.ignore,
                    include=entry.include,
                    initial_sync=entry.initial_sync,
                    exec=_exec(entry.exec),
                    context=context_folder,
                    excluded=excluded,
                )
            )
    if not rules:
        raise CommandError(
            "none of the selected services is configured for watch, consider setting a 'develop' section"
        )
    return rules


def _is_mounted(path: str, volumes: Iterable[Mount]) -> bool:
    """Whether containers see the path anyway, because a bind mount has it or a directory above it."""
    return any(mount.type == "bind" and f"{path}/".startswith(f"{mount.source.rstrip('/')}/") for mount in volumes)


def _excluded(build: Build | None) -> tuple[str, list[str]]:
    """The build context's directory and its exclude patterns; ("", []) if the context is not local."""
    if build is None or not os.path.isdir(build.context):
        return "", []
    for name in (f"{build.dockerfile or 'Dockerfile'}.dockerignore", ".dockerignore"):
        try:
            with open(os.path.join(build.context, name), encoding="utf-8-sig", errors="replace") as file:
                return build.context, file.readlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CommandError(f"read {build.context}/{name}: {error.strerror}") from error
    return build.context, []


def _exec(hook: Hook | None) -> ExecSpec | None:
    if hook is None:
        return None
    return ExecSpec(
        args=hook.command or (),
        environment=dict(hook.environment),
        working_dir=hook.working_dir,
        user=hook.user,
        privileged=hook.privileged,
    )
