"""The start of a container, described once: the steps of its first process up to execve(2).

              its new namespaces: a fork is cloned into them, a recording's process leaves the keeper's (namespaces.make)
    BEGIN     cgroups, namespaces of others, DNS sockets                 ┐
    PREPARE   the root and all mounts, which needs the host's privileges │ the keeper answers `create`
    ENTER     mounts put together, the root entered; then "ready"        ┘
              the session connects the network, the keeper sets limits and resolves the program's user
    FINISH    privileges dropped, the program executed                     the keeper answers `start`

Each step works on a Kernel (kernel.py), which is either a fork of the keeper that does everything at once (setup.py),
or a recording that a small process carries out (script/start.py). A fork costs 650 more page faults, so a recording is
tried first. A recording cannot look at results: `only_directly` of a step names the containers for which it must. If the
recording's process meets anything unexpected, it exits, and a fork follows.
"""

from __future__ import annotations

import os

from engine.keeper.child import (
    dns,
    init,
    kernel_settings,
    masked_paths,
    mounts,
    namespaces,
    process,
    rootfs,
    standard_streams,
    terminal,
)
from engine.kernel import flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engine.keeper.bundle import Bundle
    from engine.keeper.child.kernel import Kernel
    from engine.keeper.child.progress import Progress


def _never(bundle: Bundle) -> str:
    del bundle
    return ""


class Step:
    """`only_directly`: why the step cannot be recorded for a container, "" if it can."""

    def __init__(self, do: Callable[[Kernel, Progress], None], only_directly: Callable[[Bundle], str] = _never) -> None:
        self.do, self.only_directly = do, only_directly


def carry_out(steps: Iterable[Step], kernel: Kernel, progress: Progress) -> None:
    for step in steps:
        step.do(kernel, progress)


def only_directly(bundle: Bundle) -> str:
    """Why this container's start cannot be recorded, "" if it can."""
    for step in (*BEGIN, *PREPARE, *ENTER, *FINISH):
        if reason := step.only_directly(bundle):
            return reason
    return ""


def hide(kernel: Kernel, progress: Progress) -> None:
    """Prevent processes in the container from tracing us, reading our memory, or opening our descriptors and our binary
    via /proc/<pid> (CVE-2019-5736)."""
    del progress
    kernel.prctl(flags.PR_SET_DUMPABLE, 0)


def _new_session(kernel: Kernel, progress: Progress) -> None:
    del progress
    kernel.setsid()


def _keyring(kernel: Kernel, progress: Progress) -> None:
    kernel.join_session_keyring(os.path.basename(progress.bundle["run_folder"]))


def _ready(kernel: Kernel, progress: Progress) -> None:
    del progress
    kernel.send({"event": "ready"})


def _settings(kernel: Kernel, progress: Progress, *, plugged: bool) -> None:
    """Write sysctls, then make them read-only; after the network is connected if one may belong to an interface."""
    if plugged is kernel_settings.wait_for_network(progress.bundle):
        kernel_settings.apply(kernel, progress.bundle["sysctls"])
        masked_paths.seal(kernel, progress.bundle)


def _early_settings(kernel: Kernel, progress: Progress) -> None:
    _settings(kernel, progress, plugged=False)


def _late_settings(kernel: Kernel, progress: Progress) -> None:
    _settings(kernel, progress, plugged=True)


def _become(kernel: Kernel, progress: Progress) -> None:
    settings = progress.bundle["process"]
    first = init.program(kernel) if settings["init"] else -1
    process.become(
        kernel,
        settings,
        progress.user,
        progress.bundle["hostname"],
        channel=progress.channel,
        pipes=progress.pipes,
        init=first,
    )


JOIN = (
    Step(_new_session),
    Step(namespaces.join),
    Step(_keyring),
    Step(dns.serve),
)
BEGIN = (
    Step(hide, namespaces.only_directly),
    Step(namespaces.enter_cgroups),
    Step(namespaces.open_others),
    *JOIN,
)
PREPARE = (Step(rootfs.prepare, mounts.only_directly),)
ENTER = (
    Step(rootfs.assemble),
    Step(rootfs.enter),
    Step(rootfs.make_working_directory),
    Step(terminal.open_terminal, terminal.only_directly),
    Step(standard_streams.close_input),
    Step(kernel_settings.name),
    Step(_early_settings, kernel_settings.only_directly),
    Step(_ready),
)
FINISH = (
    Step(_late_settings),
    Step(_become, process.only_directly),
)
