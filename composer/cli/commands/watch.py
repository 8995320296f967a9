"""composer watch: act on changed files by the rules of `develop.watch` (compose-spec, develop.md).

    sync            copy the changed files into the running containers
    rebuild         rebuild the image and recreate the containers
    restart         restart the containers
    sync+restart    copy, then restart
    sync+exec       copy, then run a command in the containers

Ignored are: files that the rule or .dockerignore excludes, the folder .git, and temporary files of editors. Changes are
collected until none occurs for QUIET seconds, so that a checkout of many files is one action.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import is_up, select
from composer.cli.project.watch_rules import Rule, rules_of
from composer.cli.terminal.background import beside
from engine.errors import EngineError
from engine.poll import readable
from engine.spec.container import ExecSpec

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord

QUIET = 0.1
"""Seconds without a change before the collected ones are acted on."""


COMMAND = command(
    "watch",
    "watch [SERVICE...]",
    (
        Flag("no-up", "Do not build and start the services first"),
        Flag("prune", "Prune dangling images on rebuild", default=True),
        Flag("quiet", "Do not show the builds' output"),
    ),
)


def run(context: Context, args: Args) -> int:
    context.check_services(args.positional)
    rules = rules_of(context, args.positional)
    if not args.no_up:
        from composer.cli.project.converge import Images, converge

        services = tuple(dict.fromkeys(rule.service for rule in rules))
        converge(context, services, images=Images(build=True, quiet_build=args.quiet, prune=args.prune))
    Watcher(context, rules, quiet=args.quiet, prune=args.prune).run()
    return 0


@contextmanager
def watching(context: Context, services: Sequence[str], write: Callable[[str], None]) -> Iterator[None]:
    """Watch in the background (`up --watch`), and `write` what is done. Changes count from now on."""
    with beside(Watcher(context, rules_of(context, services), write=write).run, context.options.progress):
        yield


def _print(line: str) -> None:
    print(line, flush=True)


class Watcher:
    """Collects changes from its creation on; `run` acts on them."""

    def __init__(
        self,
        context: Context,
        rules: Sequence[Rule],
        *,
        quiet: bool = False,
        prune: bool = True,
        write: Callable[[str], None] = _print,
    ) -> None:
        self._context, self._rules, self._quiet, self._prune, self._write = context, rules, quiet, prune, write
        paths = list(dict.fromkeys(rule.path for rule in rules))
        self._watch = context.engine.watch_files(paths, skip=self._is_ignored)

    def run(self, stop: int = -1) -> None:
        """Act on changes until interrupted, or until descriptor `stop` becomes readable."""
        watch = self._watch
        try:
            for rule in self._rules:
                if rule.initial_sync and rule.action.startswith("sync"):
                    self._try(self._sync, rule, list(_files(rule, self._not_synced())))
            self._write("Watch enabled")
            changed: set[str] = set()
            while True:
                files = [watch.fileno(), *([stop] if stop >= 0 else [])]
                ready = readable(*files, timeout=QUIET if changed else None)
                if stop in ready:
                    return
                if ready:
                    changed |= watch.read()
                    continue
                self._act(changed)
                changed = set()
        finally:
            watch.close()

    def _not_synced(self) -> set[str]:
        """Files that define the project, which the initial copy skips."""
        project = self._context.project
        builds = [service.build for service in project.services.values() if service.build is not None]
        return {*project.compose_files, *(os.path.join(b.context, b.dockerfile or "Dockerfile") for b in builds)}

    def _is_ignored(self, folder: str) -> bool:
        """Whether every rule ignores the folder, so that it need not be watched."""
        above = [rule for rule in self._rules if folder.startswith(rule.path.rstrip("/") + "/")]
        return bool(above) and all(rule.ignores(folder, whole=True) for rule in above)

    def _act(self, changed: Iterable[str]) -> None:
        """Carry out the actions: rebuilds first, then copies, then restarts, once per service, and commands. A rebuild
        makes a plain restart of its service needless. Failures are reported, and the rest continues."""
        todo = [(rule, [path for path in sorted(changed) if rule.concerns(path)]) for rule in self._rules]
        todo = [(rule, paths) for rule, paths in todo if paths]
        rebuilt = list(dict.fromkeys(rule.service for rule, _ in todo if rule.action == "rebuild"))
        if rebuilt and not self._try(self._rebuild, rebuilt):
            rebuilt = []
        todo = [(rule, paths) for rule, paths in todo if rule.service not in rebuilt or rule.action.startswith("sync")]
        for rule, paths in todo:
            if rule.action.startswith("sync"):
                self._try(self._sync, rule, paths)
        restarted = list(dict.fromkeys(rule.service for rule, _ in todo if rule.action.endswith("restart")))
        if restarted:
            self._try(self._restart, restarted)
        for rule, _ in todo:
            if rule.action == "sync+exec":
                for record in self._running(rule.service):
                    self._try(self._execute, record, rule.exec)

    def _try(self, work: Callable[..., None], *words: object) -> bool:
        try:
            work(*words)
        except (CommandError, EngineError, OSError) as error:
            print(f"watch: {error}", file=self._context.stderr, flush=True)
            return False
        return True

    def _restart(self, services: list[str]) -> None:
        from composer.cli.project.change import change

        change(self._context, "restart", services=services, plain=True)
        self._write(f"service(s) {_quoted(services)} restarted")

    def _rebuild(self, services: list[str]) -> None:
        from composer.cli.project.converge import Images, converge

        self._write(f"Rebuilding service(s) {_quoted(services)} after changes were detected...")
        images = Images(build=True, quiet_build=self._quiet, prune=self._prune)
        converge(self._context, services, images=images, no_deps=True, force_recreate=True)
        self._write(f"service(s) {_quoted(services)} successfully built")

    def _sync(self, rule: Rule, paths: list[str]) -> None:
        """Copy existing files, and remove deleted ones from the containers."""
        there = [path for path in paths if os.path.lexists(path)]
        deleted = [path for path in paths if not os.path.lexists(path)]
        for record in self._running(rule.service):
            if there:
                self._copy(record, rule, there)
            if deleted:
                self._execute(record, ExecSpec(args=("rm", "-rf", *(rule.destination(path) for path in deleted))))
        self._write(f'Syncing service "{rule.service}" after {len(paths)} changes were detected')

    def _copy(self, record: ContainerRecord, rule: Rule, paths: list[str]) -> None:
        from composer.cli.commands.cp import piped

        if self._context.dry_run:
            return

        def produce(fd: int) -> None:
            with os.fdopen(os.dup(fd), "wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
                for path in paths:
                    archive.add(path, arcname=rule.destination(path).lstrip("/"), recursive=False)

        engine = self._context.engine
        piped(produce, lambda fd: engine.copy_in(record.group, record.id, "/", fd, as_user=True))

    def _execute(self, record: ContainerRecord, spec: ExecSpec | None) -> None:
        assert spec is not None  # rules_of has checked it
        if self._context.dry_run:
            return
        process = self._context.engine.exec_process(record.group, record.id, spec, stdio=(-1, 1, 2))
        try:
            code = process.wait()
        finally:
            process.close()
        if code:
            raise CommandError(f"{' '.join(spec.args)} in {record.spec.name} exited with code {code}")

    def _running(self, service: str) -> list[ContainerRecord]:
        return [record for record in select(self._context.containers(), [service]) if is_up(record)]


def _files(rule: Rule, left_out: set[str]) -> Iterator[str]:
    if not os.path.isdir(rule.path):
        yield rule.path
        return
    for folder, below, names in os.walk(rule.path):
        for name in (*names, *(one for one in below if os.path.islink(os.path.join(folder, one)))):
            path = os.path.join(folder, name)
            if rule.concerns(path) and path not in left_out:
                yield path


def _quoted(names: Sequence[str]) -> str:
    """A list of names as docker compose writes it: ["a" "b"]."""
    return "[" + " ".join(f'"{name}"' for name in names) + "]"
