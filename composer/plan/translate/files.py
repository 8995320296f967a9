"""Configs and secrets as files in the container. A host file without owner and mode settings is bind-mounted, as in
Docker Compose, so the container sees later changes. Anything else is copied, with the requested owner and mode.
"""

from __future__ import annotations

import os
import stat

from composer.model import Project
from composer.model.config import Config
from composer.model.files import FileReference
from composer.plan.translate.scope import Scope
from engine.spec.container import Mount

_FOLDERS = {"configs": "/", "secrets": "/run/secrets/"}


def files(scope: Scope, kind: str) -> list[Mount | None]:
    """One file for each entry of `kind` ("configs" or "secrets") in the service; None for a refused entry."""
    references: tuple[FileReference, ...] = getattr(scope.service, kind)
    return [_file(scope, kind, index, reference) for index, reference in enumerate(references)]


def definition(project: Project, kind: str, name: str) -> Config | None:
    found: dict[str, Config] = getattr(project, kind)
    return found.get(name)


def inline(project: Project, config: Config) -> str | None:
    """The text of a config with `content` or `environment`; None for a file or an unset variable."""
    if config.content is not None:
        return config.content
    if config.environment:
        return project.environ.get(config.environment)
    return None


MOST_COPIED = 16 << 20
"""Size limit of a copied config or secret, in bytes: each container holds its copy in memory."""


def is_copied(config: Config, reference: FileReference) -> bool:
    return not config.file or reference.uid is not None or reference.gid is not None or reference.mode is not None


def _uncopied(path: str) -> str:
    """Why a file cannot be copied into a container; "" when it can."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    return f"has more than {MOST_COPIED} bytes" if status.st_size > MOST_COPIED else ""


def _file(scope: Scope, kind: str, index: int, reference: FileReference) -> Mount | None:
    path = (kind, index)
    word = kind.removesuffix("s")
    config = definition(scope.project, kind, reference.source)
    if config is None:
        scope.refuse(path, f"the project has no {word} {reference.source!r}")
        return None
    if config.external:
        scope.refuse(path, f"the {word} {reference.source!r} is external, and composer has no store for it")
        return None
    if config.file and not os.path.exists(config.file):
        scope.refuse(path, f"the file of the {word} {reference.source!r} does not exist: {config.file}")
        return None
    target = reference.target or reference.source
    if not target.startswith("/"):
        target = _FOLDERS[kind] + target
    if not is_copied(config, reference):
        assert config.file is not None
        return Mount(type="bind", source=config.file, target=target, read_only=True, create_host_path=False)
    if config.file and (why := _uncopied(config.file)):
        scope.refuse(
            path, f"the {word} {reference.source!r} must be copied to set its uid, gid or mode, but {config.file} {why}"
        )
        return None
    content = None if config.file else inline(scope.project, config)
    if not config.file and content is None:
        scope.refuse(path, _why_empty(config, f"{word} {reference.source!r}"))
        return None
    return Mount(
        type="file",
        source=config.file or "",
        target=target,
        content=content,
        uid=_id(scope, (*path, "uid"), reference.uid),
        gid=_id(scope, (*path, "gid"), reference.gid),
        mode=reference.mode,
        read_only=True,
    )


def _why_empty(config: Config, name: str) -> str:
    if config.environment:
        return f"environment variable {config.environment!r} required by {name} is not set"
    return f"the {name} has neither file nor environment nor content"


def _id(scope: Scope, path: tuple[str | int, ...], text: str | None) -> int:
    if text is None or text == "":
        return 0
    if not text.isdecimal():
        scope.refuse(path, f"{text!r} is not a number: user names are known only inside the container")
        return 0
    return int(text)
