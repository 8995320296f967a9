"""The last steps: drop privileges and descriptors, and execute the program."""

from __future__ import annotations

import errno
import os

from engine.errors import OperationFailed
from engine.keeper.child import init as inits
from engine.keeper.child import kernel_settings, privileges, standard_streams
from engine.keeper.child.identity import Identity
from engine.kernel import flags
from engine.vocabulary import DEFAULT_PATH

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.keeper.bundle import Bundle, Process
    from engine.keeper.child.kernel import Kernel


class CannotExecute(Exception):
    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def only_directly(bundle: Bundle) -> str:
    """Why a recorded start cannot execute the program; see steps.py."""
    return "an init" if bundle["process"]["init"] else ""


def become(
    kernel: Kernel,
    settings: Process,
    user: Identity,
    hostname: str,
    *,
    channel: int,
    pipes: Sequence[int],
    init: int = -1,
) -> None:
    """Set working directory, user, capabilities and seccomp, then execve(2); `channel` stays open until it succeeds.
    `pipes`: the standard streams that are pipes, which the program's user will own. With `init`, a descriptor of our
    init, this process executes that, and its child the program. The container has then started: if the program cannot
    be executed, it ends with 126 or 127, and its stderr says why, as with Docker's init.
    """
    keep_descriptors(kernel, channel, init)
    if settings.get("tty") and user.uid != 0:
        kernel.give(1, user.uid, -1)  # the terminal's device node may be opened by name; its group is kept
    renounce(kernel, settings, user, pipes)
    # From here to the exec, no process may ptrace us or read our memory; the new program gets its own dumpable flag.
    if init < 0:
        execute(kernel, settings, user, hostname)
        return
    inits.split(init, settings["args"], tty=bool(settings.get("tty")))
    try:
        execute(kernel, settings, user, hostname)
    except CannotExecute as error:
        inits.give_up(str(error), error.exit_code)


def renounce(kernel: Kernel, settings: Process, user: Identity, pipes: Sequence[int]) -> None:
    """Enter the working directory and drop all privileges that the program must not have."""
    _work_in(kernel, settings["cwd"] or "/")
    if user.uid != 0:
        standard_streams.give(kernel, pipes, user.uid, user.gid)
    kernel_settings.confine(kernel, settings.get("apparmor", ""))
    privileges.bound(kernel, settings)
    kernel.prctl(flags.PR_SET_KEEPCAPS, 1)
    kernel.setgroups(user.groups)
    kernel.setresgid(user.gid, user.gid, user.gid)
    kernel.setresuid(user.uid, user.uid, user.uid)
    kernel.prctl(flags.PR_SET_DUMPABLE, 0)  # new ids set it to the sysctl fs.suid_dumpable
    privileges.restrict(kernel, settings, user)


def execute(kernel: Kernel, settings: Process, user: Identity, hostname: str) -> None:
    """Execute the program. Does not return. Raises CannotExecute."""
    variables = environment(settings, user, hostname)
    kernel.reset_signals()
    name = settings["args"][0]
    kernel.execute(
        _candidates(name, variables), settings["args"], variables, lambda number: _cannot_execute(name, number)
    )


def environment(settings: Process, user: Identity, hostname: str) -> dict[str, str]:
    variables: dict[str, str] = dict(settings["env"])
    variables.setdefault("PATH", DEFAULT_PATH)
    if settings.get("hostname_variable", True):
        variables.setdefault("HOSTNAME", hostname)
    variables.setdefault("HOME", user.home)
    if settings.get("tty"):
        variables.setdefault("TERM", "xterm")
    return variables


def keep_descriptors(kernel: Kernel, *kept: int) -> None:
    """Close all descriptors except 0, 1, 2 and those of `kept`, which are close-on-exec."""
    first = 3
    for fd in sorted(fd for fd in kept if fd >= 0):
        if fd > first:
            kernel.close_range(first, fd - 1)
        first = fd + 1
    kernel.close_range(first)


def _work_in(kernel: Kernel, path: str) -> None:
    with kernel.refused(lambda number: _cannot_work_in(path, number)):
        kernel.chdir(path)
    kernel.demand_inside(lambda: _outside(path))


def _cannot_work_in(path: str, number: int) -> CannotExecute:
    failed = OperationFailed("change to the working directory", path, number, detail=os.strerror(number))
    return CannotExecute(str(failed), 127 if number == errno.ENOENT else 126)


def _outside(path: str) -> OperationFailed:
    return OperationFailed("change to the working directory", path, detail="it is outside the container")


def _candidates(name: str, variables: dict[str, str]) -> list[str]:
    """The possible paths of the program, as execvp(3) searches the container's PATH; the first that exists counts."""
    if "/" in name:
        return [name]
    return [f"{folder}/{name}" if folder else name for folder in variables["PATH"].split(":")]


def _cannot_execute(name: str, number: int) -> CannotExecute:
    """The error with exit code 127 if no path exists, or 126 if the program cannot run; `number` is the errno of the
    first path that exists."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    if number:
        kind = "is a directory: " if number == errno.EACCES and os.path.isdir(name) else ""
        return CannotExecute(f'exec: "{quoted}": {kind}{os.strerror(number).lower()}', 126)
    where = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
    return CannotExecute(f'exec: "{quoted}": {where}', 127)
