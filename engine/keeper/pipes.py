"""The standard streams of a container's first process: anonymous pipes, so that no inode of the host enters the
container.

The process opens its ends for both reading and writing, so that the pipes outlive the keeper, and a write in the
meantime does not raise SIGPIPE. The next keeper finds the pipes by their inode numbers (<run>/<id>/streams.json) among
the descriptors of the container's processes, or gets them from the session, which also holds them."""

from __future__ import annotations

import contextlib
import json
import os

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES = ("stdin", "stdout", "stderr")
_RECORD = "streams.json"


def make(names: Iterable[str]) -> dict[str, int]:
    """Create a pipe for each of these; returns our ends, which are non-blocking. Raises OSError."""
    ours: dict[str, int] = {}
    try:
        for name in names:
            reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            ours[name], other = (writing, reading) if name == "stdin" else (reading, writing)
            os.close(other)
    except OSError:
        for fd in ours.values():
            os.close(fd)
        raise
    return ours


def record(folder: str, ours: Mapping[str, int]) -> None:
    """Record the pipes for `find`. Raises OSError."""
    with open(f"{folder}/{_RECORD}", "w", encoding="utf-8") as file:
        json.dump({name: os.fstat(fd).st_ino for name, fd in ours.items()}, file)


def theirs(name: str, ours: int, *, once: bool) -> int:
    """The process's end of our pipe. `once`: an input that must report its end is opened for reading only. Raises OSError."""
    end = os.open(f"/proc/self/fd/{ours}", (os.O_RDONLY | os.O_NONBLOCK if once else os.O_RDWR) | os.O_CLOEXEC)
    if once:
        os.set_blocking(end, True)
    return end


def numbers(child_fds: Mapping[str, int]) -> list[int]:
    """Which standard streams of the process these are, by their names."""
    return [number for number, name in enumerate(NAMES) if name in child_fds]


def find(folder: str, pids: Iterable[int]) -> dict[str, int]:
    """Our ends of the pipes of a container that another keeper started, as far as one of its processes has them open."""
    try:
        with open(f"{folder}/{_RECORD}", encoding="utf-8") as file:
            wanted = {f"pipe:[{inode}]": name for name, inode in json.load(file).items()}
    except (OSError, ValueError):
        return _named(folder)
    found: dict[str, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    path = f"/proc/{pid}/fd/{number}"
                    name = wanted.get(os.readlink(path), "")
                    if name and name not in found:
                        found[name] = _reopened(name, path)
        if len(found) == len(wanted):
            break
    return found


def _named(folder: str) -> dict[str, int]:
    """FIFOs in the directory, of a container that an earlier release started."""
    found = {}
    for name in NAMES:
        with contextlib.suppress(OSError):
            found[name] = _reopened(name, f"{folder}/{name}")
    return found


def _reopened(name: str, path: str) -> int:
    return os.open(path, (os.O_WRONLY if name == "stdin" else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC)


def processes(procs: Iterable[str], first: int) -> list[int]:
    """The container's processes, by the files cgroup.procs of its cgroups; `first` is the one that counts."""
    found = {first: None}
    for path in procs:
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            found |= dict.fromkeys(map(int, file.read().split()))
    return list(found)
