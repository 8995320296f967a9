"""Create a child process via a helper that enters a container's namespaces first.

    keeper ──fork──▶ helper: enters a container's namespaces, as root of its user namespace
                       └──clone(CLONE_PARENT)──▶ the keeper's child, in them from its first moment

The helper, which still has the host's root directory and the keeper's descriptors, is invisible in the container. The
keeper itself never enters the namespaces, because an ordinary user's keeper could not return.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from engine.errors import StartFailed
from engine.keeper import early_exit
from engine.keeper.child.setup import no_return
from engine.keeper.protocol import Channel
from engine.kernel import calls


def spawn_via_helper(child: Callable[[int], None], ours: Channel, theirs: Channel) -> tuple[int, int]:
    """Fork a helper that runs `child`, which never returns, and writes the pid of the new process to its argument.
    Returns that pid and a pidfd. Raises StartFailed with the helper's report on `theirs` if there is no process.
    """
    report, reporting = os.pipe2(os.O_CLOEXEC)
    since = early_exit.mark()
    helper, helper_fd = calls.clone(0)
    if helper == 0:
        with no_return():
            ours.close()
            os.close(report)
            child(reporting)
    os.close(reporting)
    os.close(helper_fd)
    pid = os.read(report, 16)
    os.close(report)
    _, status = os.waitpid(helper, 0)
    if not pid:
        theirs.close()
        found = ours.receive()
        if found is None:
            raise StartFailed(early_exit.ended_early(status, since))
        raise StartFailed(found[0]["error"], exit_code=found[0].get("exit_code", 125))
    return int(pid), calls.pidfd_open(int(pid))
