"""What the engine hands to its callers, open until they close it: log readers, watches, processes."""

from __future__ import annotations

from typing import Protocol

from engine.spec.stream import LogEntry


class LogReader(Protocol):
    """A position in a container's log, across its rotated files."""

    def read(self) -> list[LogEntry]:
        """The entries since the last call, oldest first; empty when there are none yet. Never blocks."""
        ...

    def close(self) -> None: ...


class Watch(Protocol):
    """Reports which containers of a group have changed, by inotify(7) on the group's folder."""

    def fileno(self) -> int:
        """Readable when something has changed."""
        ...

    def read(self) -> set[str]:
        """Ids of containers whose log grew or whose state changed; "" when one was added or removed. Never blocks."""
        ...

    def close(self) -> None: ...


class GroupsWatch(Protocol):
    """The same for many groups, by their names; "" also means that the group was removed."""

    def fileno(self) -> int: ...

    def add(self, group: str) -> None: ...

    def remove(self, group: str) -> None: ...

    def read(self) -> dict[str, set[str]]: ...

    def close(self) -> None: ...


class Process(Protocol):
    """A process in a container, and our end of its streams. `wait` blocks until it has exited, and returns its exit code
    (128+n for signal n); `poll` returns None while it runs. `fileno` is readable when it has exited."""

    @property
    def stream(self) -> int | None:
        """A descriptor with the process's output to read and its input to write: raw bytes where it has a pseudo-terminal,
        else Docker's attach frames (stream 1 or 2, three zeros, length as 4 bytes big-endian, data). None for
        others."""
        ...

    pipes: dict[int, int]
    """Our ends of the streams that are a PIPE, by number; the caller closes them."""

    def fileno(self) -> int: ...

    def resize(self, rows: int, columns: int) -> None: ...

    def signal(self, number: int) -> None: ...

    def wait(self) -> int: ...

    def poll(self) -> int | None: ...

    def close(self) -> None: ...
