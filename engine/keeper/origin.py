"""Process attributes that a keeper inherits from its starter, and must not pass on to containers."""

from __future__ import annotations

import contextlib
import os

from engine.kernel import calls

_MOST_PROCESSORS = 8192
_SIGCANCEL, _SIGSETXID = 32, 33


def forget() -> None:
    """Reset scheduling, umask, address layout and OOM score to their defaults: a container gets the values of its
    specification, whichever command came first. An ordinary user can only lower some of them; the others stay."""
    os.umask(0o022)
    calls.reset_personality()  # setarch and gdb may have disabled address randomisation
    # Signals that the C library reserves, and that its posix_spawn(3) leaves ignored.
    for number in (_SIGCANCEL, _SIGSETXID):
        calls.reset_signal(number)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, range(_MOST_PROCESSORS))  # all processors of our cpuset
    calls.reset_io_priority()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
        file.write("0")
