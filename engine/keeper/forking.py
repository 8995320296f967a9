"""Create a child process via a helper that enters a container's namespaces first.

    keeper ──fork──▶ helper: enters a container's namespaces, as root of its user namespace
                       └──clone(CLONE_PARENT)──▶ the keeper's child, in them from its first moment

The helper, which still has the host's root directory and the keeper's descriptors, is invisible in the container. The
keeper itself never enters the namespaces, because an ordinary user's keeper could not return. The helper reports the
new process's pid in shared memory that the new process does not have: whoever traces that process in the container
could write another pid to a pipe.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable

from engine.errors import OperationFailed, StartFailed
from engine.keeper import early_exit
from engine.keeper.child.setup import no_return
from engine.keeper.protocol import Channel
from engine.kernel import calls

_PID = struct.Struct("=i")


def spawn_via_helper(child: Callable[[Callable[[int], None]], None], ours: Channel, theirs: Channel) -> tuple[int, int]:
    """Fork a helper that runs `child`, which never returns, and calls its argument with the pid of the new process.
    Returns that pid and a pidfd. If no process was created, raises StartFailed with what the helper reported on
    `theirs`. Raises OperationFailed if memory runs out.
    """
    try:
        shared = mmap.mmap(-1, mmap.PAGESIZE)
    except OSError as error:
        raise OperationFailed.of("map", "memory for the helper's report", error) from error
    since = early_exit.mark()
    helper, helper_fd = calls.clone(0)
    if helper == 0:
        with no_return():
            ours.close()
            shared.madvise(mmap.MADV_DONTFORK)
            child(lambda pid: _PID.pack_into(shared, 0, pid))
    os.close(helper_fd)
    _, status = os.waitpid(helper, 0)
    (pid,) = _PID.unpack_from(shared)
    shared.close()
    if not pid:
        theirs.close()
        found = ours.receive()
        if found is None:
            raise StartFailed(early_exit.ended_early(status, since))
        raise StartFailed(found[0]["error"], exit_code=found[0].get("exit_code", 125))
    return pid, calls.pidfd_open(pid)
