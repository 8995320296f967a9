"""Follow the logs of several containers while they grow, restart and are replaced. The engine's watch on the project's
folder (inotify) wakes us, so following needs no other process and no polling.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from composer.cli.project.containers import is_up, select, short_name
from composer.cli.project.supervisor import supervisor_of
from composer.cli.render.lines import Lines
from composer.plan.labels import service_of
from composer.plan.replacement import final_name
from composer.run import restart
from composer.run.hook_log import HookLog
from engine.errors import Unsupported
from engine.poll import readable
from engine.rfc3339 import nine_digits
from engine.spec.state import Status

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.cli.terminal.streams import Output, Outputs
    from composer.run.handles import LogReader
    from engine.spec.state import ContainerExit, ContainerRecord
    from engine.spec.stream import LogEntry

PATIENCE = 5.0
"""Seconds between two checks whether a supervisor is alive that may restart a container."""

Ended = Callable[["ContainerRecord"], None]


class EmptyLog:
    """The empty log of a container whose driver stores none."""

    def read(self) -> list[LogEntry]:
        return []

    def close(self) -> None:
        pass


class WithHooks:
    """A container's log and its hooks' output from `since` to `until`, merged by time."""

    def __init__(self, reader: LogReader, folder: str, since: int, until: int) -> None:
        self._reader, self._hooks, self._since, self._until = reader, HookLog(folder), since, until

    def read(self) -> list[LogEntry]:
        entries = self._hooks.read()
        wanted = [one for one in entries if self._since <= one.time and (not self._until or one.time <= self._until)]
        return sorted([*self._reader.read(), *wanted], key=lambda one: one.time)

    def close(self) -> None:
        self._reader.close()


def _exits(record: ContainerRecord) -> list[ContainerExit]:
    """The known exits of the container's runs, latest last."""
    from engine.spec.state import ContainerExit

    state = record.state
    last = [ContainerExit(exit_code=state.exit_code, finished_at=state.finished_at)] if state.finished_at else []
    return [*state.exit_history, *last]


class Source:
    """One container's log. `parts`: the beginning of its current line and its time, by stream; `output`: its reader, if
    that is an attached stream; `kept`: whether there is a log; `deadline` (monotonic): when it must be running again, 0
    if it is running or need not be."""

    __slots__ = (
        "coming",
        "deadline",
        "finished_at",
        "kept",
        "name",
        "output",
        "parts",
        "reader",
        "shown",
        "stays",
        "up",
    )

    def __init__(self, name: str, reader: LogReader, record: ContainerRecord) -> None:
        self.name, self.reader = name, reader
        self.output: Output | None = None
        self.kept = True
        self.deadline = 0.0
        self.parts: dict[str, tuple[str, int]] = {}
        exits = _exits(record)
        self.up, self.finished_at, self.shown = is_up(record), exits[-1].finished_at if exits else 0.0, True
        self.coming = False
        self.stays = True


class Follower:
    """Prints the logs of a project's containers to `lines`.

    `wanted` selects new containers; `ended` is called for each container that stops; following ends when all containers
    selected by `keeps_following` have stopped. Containers without stored logs are attached to if `outputs` is given.
    `hooks`: also show the output of hooks.
    """

    def __init__(
        self,
        context: Context,
        lines: Lines,
        *,
        services: Sequence[str] = (),
        index: int = 0,
        wanted: Callable[[ContainerRecord], bool] = lambda record: True,
        ended: Ended | None = None,
        outputs: Outputs | None = None,
        keeps_following: Callable[[ContainerRecord], bool] = lambda record: True,
        hooks: bool = False,
    ) -> None:
        self._context, self._lines, self._keeps_following = context, lines, keeps_following
        self._services, self._index, self._wanted, self._ended = services, index, wanted, ended
        self._outputs, self._hooks = outputs, hooks
        self._sources: dict[str, Source] = {}
        self._shown: set[str] | None = None
        self._began = time.time()

    def show_only(self, services: set[str]) -> None:
        """Print only the logs of these services; exits of others are still reported."""
        self._shown = services

    def open(
        self, records: Iterable[ContainerRecord], *, since: int = 0, until: int = 0, tail: int | None = None
    ) -> None:
        """Add these containers, with their logs from `since` (nanoseconds) or from their last `tail` entries."""
        for record in records:
            if record.id not in self._sources and self._wanted(record):
                reader: LogReader
                try:
                    reader = self._context.engine.logs(record.group, record.id, since=since, until=until, tail=tail)
                except Unsupported as error:  # its driver stores nothing; as in docker compose, the others are shown
                    reader = EmptyLog()
                    if self._outputs is None:
                        warning = f"warning: cannot show the logs of {short_name(record)}: {error}"
                        print(warning, file=self._context.stderr)
                name, replaces = _name(record)
                source = self._sources[record.id] = Source(name, reader, record)
                source.shown = self._shown is None or service_of(record) in self._shown
                source.kept = not isinstance(reader, EmptyLog)
                if self._hooks:
                    source.reader = WithHooks(
                        reader, self._context.engine.folder(record.group, record.id), since, until
                    )
                source.stays = self._keeps_following(record)
                if replaces and source.shown and self._ended is not None:
                    self._lines.status(name, "has been recreated")
                self._attach(source, record)
                if since:
                    source.finished_at = min(source.finished_at, since / 1e9)
        self._lines.register(source.name for source in self._sources.values() if source.shown)

    def past(self) -> None:
        """Print the existing entries, merged by time."""
        streams = [_timed(key, source.reader) for key, source in self._sources.items()]
        for _, key, entry in heapq.merge(*streams, key=lambda item: item[0]):
            self._print(self._sources[key], entry)

    def follow(self, *, until: int = 0, wake: int = -1, forever: bool = False) -> None:
        """Print new entries until every container has stopped or the time is `until` (nanoseconds); with `forever` also
        of later containers.

        `wake`: a descriptor that interrupts the waiting when it becomes readable (signals).
        """
        watch = self._context.engine.watch(self._context.project_name)
        try:
            self._refresh()
            while forever or any((source.up or source.coming) and source.stays for source in self._sources.values()):
                pauses = [max(0, until - time.time_ns()) / 1e9] if until else []
                pauses += [
                    max(0.0, source.deadline - time.monotonic()) for source in self._sources.values() if source.deadline
                ]
                pause = min(pauses, default=None)
                attached = [source.output.fileno() for source in self._sources.values() if source.output is not None]
                files = [watch.fileno(), *attached, *([wake] if wake >= 0 else [])]
                ready = readable(*files, timeout=pause)
                if until and time.time_ns() >= until:
                    break
                if wake in ready:
                    return
                if ready and watch.fileno() not in ready:
                    self._drain_all()
                    continue
                watch.read()
                self._refresh()
        finally:
            watch.close()
            for source in self._sources.values():
                self._drain(source)

    def _refresh(self) -> None:
        records = select(self._context.containers(), self._services, index=self._index)
        self.open(records)
        self._drain_all()
        by_id = {record.id: record for record in records}
        for key in list(self._sources):
            source, record = self._sources[key], by_id.get(key)
            source.up = record is not None and self._is_up(source, record)
            source.coming = record is not None and self._will_start(record)
            if record is not None and source.name != _name(record)[0]:  # it was renamed
                source.name = _name(record)[0]
                self._lines.register([source.name])
            if record is None:
                source.reader.close()
                del self._sources[key]
            elif exits := [end for end in _exits(record) if end.finished_at > source.finished_at]:
                source.finished_at = exits[-1].finished_at
                if source.output is not None:
                    source.output.finish()
                self._drain(source)
                if self._ended is not None:
                    for end in exits:
                        again = " (restarting)" if source.up or source.coming or end is not exits[-1] else ""
                        if source.shown:
                            self._lines.status(source.name, f"exited with code {end.exit_code}{again}")
                    if not source.up and not source.coming:
                        self._ended(record)

            if record is not None and record.state.started_at > source.finished_at:
                self._attach(source, record)

    def _attach(self, source: Source, record: ContainerRecord) -> None:
        """Attach to a container without a stored log, and after its exit to its next run, whose first output may be
        missed."""
        if self._outputs is None or source.kept or not source.shown:
            return
        if (source.output is None or source.output.ended) and (output := self._outputs.of(record)) is not None:
            self._drain(source)
            source.reader.close()
            source.reader = source.output = output

    def _is_up(self, source: Source, record: ContainerRecord) -> bool:
        """Whether the container is running, or has just exited and its supervisor is about to restart it."""
        if is_up(record) or not restart.wanted(record.spec.restart, record.state):
            source.deadline = 0.0
            return is_up(record)
        source.deadline = source.deadline or time.monotonic() + PATIENCE
        if time.monotonic() >= source.deadline and supervisor_of(self._context).listens():
            source.deadline = time.monotonic() + PATIENCE
        return time.monotonic() < source.deadline

    def _will_start(self, record: ContainerRecord) -> bool:
        """Whether it is restarting, or was created since we began and not started yet, like a replacement."""
        return record.state.returns or (
            record.state.status is Status.CREATED and record.state.created_at >= self._began
        )

    def _drain_all(self) -> None:
        """Print new entries, merged by time over all containers."""
        entries = [
            (entry.time, key, entry) for key, source in self._sources.items() for entry in _entries(source.reader)
        ]
        for _, key, entry in sorted(entries, key=lambda item: item[0]):
            self._print(self._sources[key], entry)

    def _drain(self, source: Source) -> None:
        for entry in _entries(source.reader):
            self._print(source, entry)
        self._finish_line(source)

    def finish_lines(self) -> None:
        """Print unfinished lines: no more output is expected."""
        for source in self._sources.values():
            self._finish_line(source)

    def _finish_line(self, source: Source) -> None:
        for stream, (rest, timestamp) in source.parts.items():
            self._lines.line(source.name, rest, stream=stream, timestamp=nine_digits(timestamp))
        source.parts.clear()

    def _print(self, source: Source, entry: LogEntry) -> None:
        if not source.shown:
            return
        text, timestamp = source.parts.pop(entry.stream, ("", entry.time))
        text += entry.text  # in place, because a line may have thousands of parts
        if not text.endswith("\n"):
            source.parts[entry.stream] = (text, timestamp)
            return
        if entry.stream in ("post_start", "pre_stop"):
            name, stream = f"{source.name} [{entry.stream}]", "stdout"
        else:
            name, stream = source.name, entry.stream
        self._lines.line(name, text, stream=stream, timestamp=nine_digits(entry.time))


def _name(record: ContainerRecord) -> tuple[str, bool]:
    """The name before a container's lines, and whether it replaces another container of that name."""
    final = final_name(record.spec.name)
    if not final:
        return short_name(record), False
    return short_name(structs.replace(record, spec=structs.replace(record.spec, name=final))), True


def _entries(reader: LogReader) -> Iterator[LogEntry]:
    while batch := reader.read():
        yield from batch


def _timed(key: str, reader: LogReader) -> Iterator[tuple[int, str, LogEntry]]:
    for entry in _entries(reader):
        yield entry.time, key, entry
