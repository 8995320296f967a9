"""The last steps: drop what the program must not have, and execute it."""

from __future__ import annotations

import functools
import os
import signal

from engine.errors import OperationFailed
from engine.keeper.child import init as inits
from engine.keeper.child import kernel_settings, standard_streams
from engine.keeper.child.identity import Identity
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from typing import NoReturn

    from engine.keeper.bundle import Process

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CannotExecute(Exception):
    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def become(settings: Process, who: Identity, hostname: str, status: int, *, init: int = -1) -> NoReturn:
    """Working directory, identity, capabilities, seccomp, then execve(2); `status` stays open until it succeeds.

    With `init`, a descriptor of our tiny init, that is what this process
    executes, and a child of it the program.
    """
    variables = environment(settings, who, hostname)
    keep_descriptors(status, init)
    _work_in(settings["cwd"] or "/")
    if who.uid != 0 and not settings.get("tty"):
        standard_streams.give(who.uid, who.gid)
    kernel_settings.confine(settings.get("apparmor", ""))
    bound(settings)
    effective, last = settings["capabilities"]["effective"], last_capability()
    calls.prctl(flags.PR_SET_KEEPCAPS, 1)
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    whole = (1 << (last + 1)) - 1
    filtered = program(settings)
    if filtered and not settings.get("no_new_privs"):
        permitted = calls.capget()
        calls.capset(permitted, permitted, 0)
        calls.seccomp(filtered)  # needs CAP_SYS_ADMIN, which goes with the next line
        filtered = b""
    mask = effective & whole & calls.capget() if who.uid == 0 else 0
    calls.capset(mask, mask, 0)
    if filtered:
        calls.seccomp(filtered)
    # Nobody may ptrace us or read our memory between here and the exec; the new program gets its own dumpable flag.
    if init >= 0:
        inits.split(init, settings["args"], tty=bool(settings.get("tty")))
    _reset_signals()
    _execute(settings["args"], variables)


def bound(settings: Process) -> None:
    """What no program executed from here on can gain: capabilities outside the bounding set, and with no_new_privs any."""
    bounding = settings["capabilities"]["bounding"]
    for number in range(last_capability() + 1):
        if not bounding >> number & 1:
            calls.prctl(flags.PR_CAPBSET_DROP, number)
    if settings.get("no_new_privs"):
        calls.prctl(flags.PR_SET_NO_NEW_PRIVS, 1)


def program(settings: Process) -> bytes:
    """The seccomp filter, b"" for none; `preload` has read it, or it is read now."""
    path = settings.get("seccomp", "")
    preload(path)
    return _PROGRAMS[path] if path else b""


_PROGRAMS: dict[str, bytes] = {}


def preload(path: str) -> None:
    """Read a seccomp program while the host's file system is still there."""
    if path and path not in _PROGRAMS:
        with open(path, "rb") as file:
            _PROGRAMS[path] = file.read()


def environment(settings: Process, who: Identity, hostname: str) -> dict[str, str]:
    variables: dict[str, str] = dict(settings["env"])
    variables.setdefault("PATH", DEFAULT_PATH)
    if settings.get("hostname_variable", True):
        variables.setdefault("HOSTNAME", hostname)
    variables.setdefault("HOME", who.home)
    if settings.get("tty"):
        variables.setdefault("TERM", "xterm")
    return variables


def keep_descriptors(*kept: int) -> None:
    """Only 0, 1, 2 and those of `kept`, which are close-on-exec, may be open."""
    first = 3
    for fd in sorted(fd for fd in kept if fd >= 0):
        if fd > first:
            calls.close_range(first, fd - 1)
        first = fd + 1
    calls.close_range(first)


def _work_in(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise cannot_work_in(path, error) from error
    if not os.getcwd().startswith("/"):  # "(unreachable)": a leaked host directory, CVE-2024-21626
        raise outside(path)


def cannot_work_in(path: str, error: OSError) -> CannotExecute:
    message = str(OperationFailed.of("change to the working directory", path, error))
    return CannotExecute(message, 127 if isinstance(error, FileNotFoundError) else 126)


def outside(path: str) -> OperationFailed:
    return OperationFailed("change to the working directory", path, detail="it is outside the container")


@functools.cache
def last_capability() -> int:
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 40


def _reset_signals() -> None:
    """Nothing is ignored: neither what the keeper ignores nor what whoever started it did (nohup, a shell's `&`)."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _execute(args: list[str], variables: dict[str, str]) -> NoReturn:
    """Look the program up in the container's PATH as execvp(3) does."""
    name, refused = args[0], 0
    for path in candidates(name, variables):
        try:
            os.execve(path, args, variables)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = refused or error.errno or 0
    raise cannot_execute(name, refused)


def candidates(name: str, variables: dict[str, str]) -> list[str]:
    """Where the program may be, the first that is there counts."""
    if "/" in name:
        return [name]
    return [f"{folder}/{name}" if folder else name for folder in variables["PATH"].split(":")]


def cannot_execute(name: str, refused: int) -> CannotExecute:
    """127 when it is not there, 126 when it cannot run: `refused` is the errno of the first that is there."""
    if refused:
        return CannotExecute(f'exec: "{name}": {os.strerror(refused).lower()}', 126)
    where = f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
    return CannotExecute(f'exec: "{name}": {where}', 127)
