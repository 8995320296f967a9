"""The compiled modules of Composer, and of the libraries that it uses, in one file: `composer/__pycache__/<interpreter>.modules`.

Python looks for every module in directories and opens its .pyc file, which is a seventh of a command's time. A supervisor
copies those files into this one, and commands import from there.

    length of the head │ head: (interpreter, {module: Entry}) │ code │ code …      head, entries, code: as marshal writes them

As with a .pyc file, an entry is valid while its source file is the same. The file can be deleted at any time.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.abc import Loader
    from types import CodeType, ModuleType

    Source = tuple[int, int, int]
    Entry = tuple[int, int, str, Source, bool]
    """offset and length of the code (0: there is none), path and state of the source, whether it is a package"""

_TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_INTERPRETER = (1, sys.version, sys.prefix, sys.flags.optimize)
"""The file's format, and for whom it is."""
_LENGTH = 8
"""Bytes of the head's length."""
_LOWEST = 10
"""The file's descriptor is at least this one, so that those with fixed numbers in a forked process do not replace it."""
_DAMAGED = ValueError, EOFError, TypeError
"""What marshal raises for bytes that it has not written."""
_LATE = frozenset({"msgspec.inspect", "textwrap"})
"""Modules that their importers hardly ever use, and that are slow to load. They are loaded when first used."""
_PYC_HEAD = 16
"""Bytes before the code of a .pyc file: magic number, flags, the source's time and size (PEP 552)."""


class _Loader(SourceFileLoader):
    """A module's loader that already has the code."""

    def __init__(self, name: str, path: str, code: bytes) -> None:
        self.name, self.path = name, path  # as the base class does
        self._code: bytes | None = code

    def get_code(self, fullname: str) -> CodeType | None:
        code, self._code = self._code or b"", None
        try:
            found: CodeType = marshal.loads(code)
        except _DAMAGED:
            return super().get_code(fullname)
        return found


class _Finder:
    """Finds what is in the open file `fd`, behind its head (importlib.abc.MetaPathFinder)."""

    def __init__(self, fd: int, begin: int, entries: dict[str, bytes]) -> None:
        self.fd, self._begin, self._entries = fd, begin, entries
        self._path = _path()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        packed = self._entries.get(name)
        if packed is None:
            return None
        try:
            offset, length, source, state, package = marshal.loads(packed)
        except _DAMAGED:
            return None
        if not length or _state(source) != state:
            return None
        loader: Loader = _Loader(name, source, os.pread(self.fd, length, self._begin + offset))
        if name in _LATE:
            from importlib.util import LazyLoader

            loader = LazyLoader(loader)
        spec = ModuleSpec(name, loader, origin=source, is_package=package)
        spec.has_location = True
        spec.cached = self._path  # or importlib would derive the path of a .pyc file
        if package:
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec

    def entries(self) -> dict[str, Entry]:
        return {name: marshal.loads(packed) for name, packed in self._entries.items()}


_finder: _Finder | None = None


def use() -> None:
    """Import from the file from now on, if there is one for this interpreter. Its descriptor stays open: see `close_from`."""
    global _finder
    if _finder is not None:
        sys.meta_path.remove(_finder)
        _finder = None
    if not _is_ours():
        return
    try:
        low = os.open(_path(), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fd = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _LOWEST)
    except OSError:  # a low limit of open descriptors (ulimit -n)
        return
    finally:
        os.close(low)
    found = _opened(fd)
    if found is None:
        os.close(fd)
    else:
        _finder = found
        sys.meta_path.insert(0, found)


def close_from(first: int) -> None:
    """Close all descriptors from `first` on, except that of the file."""
    if _finder is not None:
        os.closerange(first, _finder.fd)
        first = _finder.fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _opened(fd: int) -> _Finder | None:
    try:
        length = int.from_bytes(os.pread(fd, _LENGTH, 0), "little")
        interpreter, entries = marshal.loads(os.pread(fd, length, _LENGTH))
    except (OSError, OverflowError, MemoryError, *_DAMAGED):
        return None
    return _Finder(fd, _LENGTH + length, entries) if interpreter == _INTERPRETER else None


def renew() -> None:
    """Stop using the file, and rewrite it if it lacks a module that this process has imported."""
    global _finder
    known = _finder.entries() if _finder is not None else {}
    if _finder is not None:
        sys.meta_path.remove(_finder)  # (another thread may just be reading from its descriptor)
        _finder = None
    if sys.dont_write_bytecode or not _is_ours() or not os.access(os.path.dirname(_path()), os.W_OK):
        return
    loaded = dict(_loaded())
    if all(name in known and _state(source) == known[name][3] for name, source in loaded.items()):
        return
    sources = {**{name: entry[2] for name, entry in known.items()}, **loaded, **dict(_own())}
    try:
        _write(sources)
    except OSError:
        pass  # another process is writing it, or the disk is full: that only costs time


def _is_ours() -> bool:
    """Whether modules come from our installation alone."""
    return bool(sys.flags.ignore_environment) or os.environ.get("PYTHONPATH", _TREE) == _TREE


def _path() -> str:
    return f"{_TREE}/composer/__pycache__/{sys.implementation.cache_tag}.modules"


def _state(source: str) -> Source | None:
    """The size, inode and time of change (ns) of the file; every change affects one of them."""
    try:
        status = os.stat(source)
    except OSError:
        return None
    return status.st_size, status.st_ino, status.st_ctime_ns


def _loaded() -> Iterator[tuple[str, str]]:
    """Names and source files of the modules of this process, but those of the user's directory (`python -m composer`)."""
    foreign = "\0" if sys.flags.safe_path else f"{sys.path[0]}/"
    for name, module in list(sys.modules.items()):
        try:
            spec: ModuleSpec | None = object.__getattribute__(module, "__spec__")  # (getattr would load a late module)
        except AttributeError:
            continue
        if spec is None or spec.name != name or not isinstance(spec.loader, SourceFileLoader):
            continue
        if name != "__main__" and not spec.loader.path.startswith(foreign):
            yield name, spec.loader.path


def _own() -> Iterator[tuple[str, str]]:
    """Names and source files of all our modules, because other commands use others."""
    for package in ("composer", "engine"):
        for folder, _, files in os.walk(f"{_TREE}/{package}"):
            prefix = os.path.relpath(folder, _TREE).replace("/", ".")
            for file in files:
                stem, extension = os.path.splitext(file)
                if extension == ".py":
                    yield prefix if stem == "__init__" else f"{prefix}.{stem}", f"{folder}/{file}"


def _write(sources: dict[str, str]) -> None:
    from importlib.util import cache_from_source

    entries: dict[str, bytes] = {}
    code: list[bytes] = []
    offset = 0
    for name, source in sources.items():
        state = _state(source)
        if state is not None:
            found = _compiled(source, cache_from_source(source))
            entry: Entry = offset, len(found), source, state, os.path.basename(source) == "__init__.py"
            entries[name] = marshal.dumps(entry)
            code.append(found)
            offset += len(found)
    head = marshal.dumps((_INTERPRETER, entries))
    _replace(_path(), b"".join((len(head).to_bytes(_LENGTH, "little"), head, *code)))


def _replace(path: str, content: bytes) -> None:
    """Replace the file, unless another process is doing so. Raises OSError."""
    from engine.poll import write_all

    draft = f"{path}.new"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(draft), os.fstat(fd)):  # it has not become the file meanwhile
            os.ftruncate(fd, 0)
            write_all(fd, content)
            os.fsync(fd)  # damaged code would stop every command
            os.replace(draft, path)
    finally:
        os.close(fd)


def _compiled(source: str, path: str) -> bytes:
    """The code in the .pyc file at `path`; empty if it is missing or does not match the source."""
    try:
        status = os.stat(source)
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return b""
    made_from = b"".join((int(n) & 0xFFFFFFFF).to_bytes(4, "little") for n in (0, status.st_mtime, status.st_size))
    return content[_PYC_HEAD:] if content[4:_PYC_HEAD] == made_from else b""
