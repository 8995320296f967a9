"""What the project's files want, remembered: when no input has changed, nothing is read but one file of ours.

An entry belongs to the way the project was asked for (folder, flags, COMPOSE_… variables) and to this program as it is. It
holds while every file that went into it, or was looked for and not there, is as it was, and every variable of the
environment that was read has the same value. It may be deleted at any time; it has the mode 0600, for it has passwords.
"""

import os
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
import msgspec
from msgspec import Struct

import composer
from composer.plan.desired import Desired
from engine.paths import make_private

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.load.project import LoadOptions

Stamp = tuple[int, int, int]
"""A file's size, time of change (ns) and inode."""

KEPT = 64
"""Entries that are kept; the ones that were not written for longest go first."""
COARSE = 50_000_000
"""Nanoseconds within which two changes of a file may have the same time: a younger entry is not believed."""

_PARTS = ("load", "model", "plan", "plan/translate")


class Entry(Struct):
    """`key` is what was asked for. `written` is the time (ns since the epoch) at which reading the inputs began.
    `warnings` are the load's own."""

    key: str
    desired: Desired
    written: int
    files: dict[str, Stamp | None]
    variables: dict[str, str | None]
    warnings: list[str] = []


_decode = msgspec.json.Decoder(Entry).decode


class Cache:
    """The entry of one project in the folder `<state>/cache/projects`."""

    def __init__(self, folder: str, options: "LoadOptions") -> None:
        self._folder, self._environ = folder, options.environ
        self._key = _key(options)
        # A checksum will do for a name: the entry says whose it is.
        self._path = f"{folder}/{zlib.crc32(self._key.encode()):08x}.json"

    def find(self) -> Entry | None:
        """The entry, when it holds."""
        try:
            with open(self._path, "rb") as file:
                entry = _decode(file.read())
        except (OSError, msgspec.DecodeError):
            return None
        return entry if self._holds(entry) else None

    def put(
        self,
        desired: Desired,
        files: Mapping[str, Stamp | None],
        variables: Mapping[str, str | None],
        warnings: Iterable[str],
        *,
        written: int,
        keep: bool = True,
    ) -> Entry:
        """The entry, remembered if it is to be kept. A cache that cannot be written costs time and nothing else."""
        entry = Entry(
            key=self._key,
            desired=desired,
            written=written,
            files=dict(files),
            variables=dict(variables),
            warnings=[str(line) for line in warnings],
        )
        if not keep:
            return entry
        temporary = f"{self._path}.{os.getpid()}"
        with suppress(OSError):
            make_private(self._folder)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.json.encode(entry))
                os.replace(temporary, self._path)
            except BaseException:
                os.unlink(temporary)
                raise
            self._trim()
        return entry

    def _holds(self, entry: Entry) -> bool:
        if entry.key != self._key:
            return False
        for name, value in entry.variables.items():
            if self._environ.get(name) != value:
                return False
        for path, known in entry.files.items():
            if stamp(path) != known or (known is not None and known[1] > entry.written - COARSE):
                return False
        return True

    def _trim(self) -> None:
        with os.scandir(self._folder) as found:
            entries = sorted((item.stat().st_mtime_ns, item.path) for item in found)
        for _, path in entries[:-KEPT]:
            os.unlink(path)


def stamp(path: str) -> Stamp | None:
    """None for a file that is not there, or that nobody lets us see."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def now() -> int:
    return time.time_ns()


def _key(options: "LoadOptions") -> str:
    asked = {name: getattr(options, name) for name in options.__slots__ if name not in ("environ", "streams")}
    environ = {
        name: value
        for name, value in options.environ.items()
        if name.startswith(("COMPOSE_", "DOCKER_")) or name in ("HOME", "COMPOSER_SILENCE")
    }
    return msgspec.json.encode([os.getcwd(), asked, environ, _program()], order="sorted").decode()


def _program() -> list[int]:
    """This program as it is: other code may want something else of the same files."""
    top = os.path.dirname(os.path.abspath(composer.__file__))
    newest = count = size = 0
    for part in _PARTS:
        with os.scandir(f"{top}/{part}") as found:
            for item in found:
                if item.name.endswith(".py"):
                    status = item.stat()
                    newest, count, size = max(newest, status.st_mtime_ns), count + 1, size + status.st_size
    return [newest, count, size]
