"""Directories of layers that nobody needs any more, removed by a process of its own: on a disk that can take longer than the
build that replaced them.

<state>/layers/.rubbish-<random>    gone soon; what a crash leaves, the next sweep or collection removes

    python -I -S rubbish.py TREE FOLDER
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

_PREFIX = ".rubbish-"


def put(folder: str, name: str) -> None:
    """Move `name` in `folder` to the rubbish; nothing if it is not there. Raises OSError."""
    if not is_rubbish(name):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{folder}/{name}", f"{folder}/{_PREFIX}{os.urandom(6).hex()}")


def is_rubbish(name: str) -> bool:
    return name.startswith(_PREFIX)


def start_sweeping(folder: str) -> None:
    """Remove the rubbish in `folder` in the background, beyond the end of this process. If that cannot be started, the next
    collection removes it."""
    with contextlib.suppress(OSError):
        if any(map(is_rubbish, os.listdir(folder))):
            _start(folder)


def _start(folder: str) -> None:
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    argv = [sys.executable, "-I", "-S", os.path.abspath(__file__), tree, folder]
    pid = os.posix_spawn(sys.executable, argv, {"LC_ALL": "C.UTF-8"}, file_actions=null, setsid=True)
    threading.Thread(target=os.waitpid, args=(pid, 0), name="rubbish", daemon=True).start()


def sweep(folder: str) -> None:
    """Remove all rubbish in `folder`. Concurrent sweeps, and the collector, do not interfere."""
    from engine.filetree.remove import remove

    for name in os.listdir(folder):
        if is_rubbish(name):
            with contextlib.suppress(OSError):  # the collector tries again, and reports the error
                remove(f"{folder}/{name}")


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    with contextlib.suppress(FileNotFoundError):
        sweep(sys.argv[2])
