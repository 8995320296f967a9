"""The cache of translated projects: if no input has changed, a command reads a single file.

An entry belongs to the way in which the project was requested (directory, flags, COMPOSE_… variables) and to this version of the
program. It is valid while every file that was read, or looked for and not found, is unchanged, and every environment variable
that was used has the same value. It can be deleted at any time. It has the mode 0600, because it contains passwords.
"""

import os
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
import msgspec
from msgspec import Struct

import composer
from composer.load.stamp import Stamp, stamp
from composer.plan.desired import Desired
from composer.plan.problems import Problem
from engine import atomic
from engine.digest import hexadecimal
from engine.paths import make_private

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.load.options import Loaded, LoadOptions


KEPT = 64
"""Entries that are kept; the ones that were not written for longest go first."""
COARSE = 50_000_000
"""Nanoseconds within which two changes of a file may have the same time: a younger entry is not trusted."""

_PARTS = (
    *(".", "load", "load/tree", "load/read", "load/read/interpolation", "load/merge", "load/resolve", "load/check"),
    *("load/check/schema", "model", "plan", "plan/translate"),
)
"""Directories of the code that an entry depends on."""


class Translated(Struct, frozen=True, kw_only=True):
    """The inputs of the project's translation. It is valid for files with the same content: an edited comment changes
    only the positions of problems.

    content               of the canonical tree (`content_of`)
    problems              whose lines are in the desired state
    files                 files that the translation read besides the tree
    variables             the values (in the environment and .env files) that are part of it
    """

    content: str
    problems: tuple[Problem, ...] = ()
    files: dict[str, Stamp | None] = {}
    variables: dict[str, str | None] = {}


class Entry(Struct):
    """`key` is the request. `written` is the time (ns since the epoch) at which reading the inputs began. `warnings`
    come from loading."""

    key: str
    desired: Desired
    written: int
    files: dict[str, Stamp | None]
    variables: dict[str, str | None]
    warnings: list[str] = []
    translated: Translated | None = None


_decode = msgspec.json.Decoder(Entry).decode


class Cache:
    """The entry of one project in the folder `<state>/cache/projects`."""

    def __init__(self, folder: str, options: "LoadOptions") -> None:
        self._folder, self._environ = folder, options.environ
        self.key = _key(options)
        # A checksum suffices for a name, because the entry contains the request.
        self._path = f"{folder}/{zlib.crc32(self.key.encode()):08x}.json"

    def find(self) -> Entry | None:
        """The entry, if none of its inputs has changed."""
        entry = self.last
        return entry if entry is not None and self._holds(entry) else None

    @cached_property
    def last(self) -> Entry | None:
        """The entry as it was written, even if inputs have changed."""
        try:
            with open(self._path, "rb") as file:
                entry = _decode(file.read())
        except (OSError, msgspec.DecodeError):
            return None
        return entry if entry.key == self.key else None

    def translated(self, loaded: "Loaded") -> tuple[Desired, Translated] | None:
        """The last entry's translation, if the files that were loaded now have the same content."""
        entry = self.last
        if entry is None or entry.translated is None:
            return None
        known = entry.translated
        if any(loaded.environment.get(name) != value for name, value in known.variables.items()):
            return None
        if not _unchanged(known.files, entry.written) or known.content != content_of(loaded):
            return None
        return entry.desired, known

    def put(self, entry: Entry) -> None:
        """Store the entry. A failure to write is ignored: it only costs time."""
        with suppress(OSError):
            make_private(self._folder)
            atomic.replace(self._path, msgspec.json.encode(entry))
            self._trim()

    def _holds(self, entry: Entry) -> bool:
        if any(self._environ.get(name) != value for name, value in entry.variables.items()):
            return False
        return _unchanged(entry.files, entry.written)

    def _trim(self) -> None:
        with os.scandir(self._folder) as found:
            entries = sorted((item.stat().st_mtime_ns, item.path) for item in found)
        for _, path in entries[:-KEPT]:
            os.unlink(path)


def content_of(loaded: "Loaded") -> str:
    """A digest of a loaded project's content, without positions."""
    contents = [[*place, text] for place, text in sorted(loaded.contents.items())]
    whole = (
        loaded.name,
        loaded.working_dir,
        loaded.compose_files,
        loaded.tree,
        loaded.disabled,
        loaded.hashes,
        contents,
    )
    return hexadecimal(msgspec.json.encode(whole))


def _unchanged(files: Mapping[str, Stamp | None], written: int) -> bool:
    for path, known in files.items():
        if stamp(path) != known or (known is not None and known[1] > written - COARSE):
            return False
    return True


def now() -> int:
    return time.time_ns()


def _key(options: "LoadOptions") -> str:
    requested = {
        name: getattr(options, name) for name in options.__slots__ if name not in ("artifacts", "environ", "streams")
    }
    environ = {
        name: value
        for name, value in options.environ.items()
        if name.startswith(("COMPOSE_", "DOCKER_")) or name in ("HOME", "COMPOSER_SILENCE")
    }
    return msgspec.json.encode([os.getcwd(), requested, environ, _program()], order="sorted").decode()


def _program() -> list[int]:
    """Identifies this version of the program: another version may read the same files differently."""
    top = os.path.dirname(os.path.abspath(composer.__file__))
    newest = count = size = 0
    for part in _PARTS:
        with os.scandir(f"{top}/{part}") as found:
            for item in found:
                if item.name.endswith((".py", ".json")):
                    status = item.stat()
                    newest, count, size = max(newest, status.st_mtime_ns), count + 1, size + status.st_size
    return [newest, count, size]
