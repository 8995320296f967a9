"""User namespaces (user_namespaces(7)): a short-lived child creates one, we write its maps, and processes enter it as
its root.

Standard library only: the keeper imports it. Single-threaded callers only, as it forks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from engine.errors import OperationFailed
from engine.kernel import calls, flags, idmap

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from typing import TypeAlias

Ranges: TypeAlias = "Sequence[idmap.Range]"


def create(uids: Ranges, gids: Ranges) -> int:
    """A new user namespace with these maps, as a descriptor that keeps it alive. Raises OperationFailed."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = calls.clone(flags.CLONE["user"])
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)  # no data arrives; the read ends when our parent closes its end, or dies
        os._exit(0)
    os.close(reading)
    try:
        idmap.write(pid, uids, gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("open", f"/proc/{pid}/ns/user", error) from error
    finally:
        os.close(writing)
        os.waitpid(pid, 0)
        os.close(pidfd)


def enter(namespace: int) -> None:
    """Become root of the namespace: its ids, no groups, all capabilities over it."""
    calls.setns(namespace, flags.CLONE["user"], subject="the user namespace")
    become_root()


def become_root() -> None:
    """Take the ids of root in the user namespace just entered, because our own are not mapped there."""
    os.setresgid(0, 0, 0)
    os.setgroups(())
    os.setresuid(0, 0, 0)


def outside(ranges: Ranges, number: int) -> int:
    """The host's id for `number` inside; the overflow id if it is not mapped."""
    for first, base, count in ranges:
        if first <= number < first + count:
            return base + number - first
    return 65534
