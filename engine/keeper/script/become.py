"""From the pause to execve(2), as operations of a script: the steps of engine/keeper/child/process.py."""

from __future__ import annotations

import errno
import functools
import os
import signal
import struct

from engine.keeper.child import kernel_settings, process
from engine.keeper.child.identity import Identity
from engine.keeper.script import places
from engine.keeper.script.script import CHANNEL, NOTE, Script
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.keeper.bundle import Bundle
    from engine.keeper.messages import Failure

_EVERY = 0xFFFFFFFF
_SET_MODE_FILTER = 1
_SET_MASK = 2


def write(script: Script, bundle: Bundle, who: Identity, pipes: Sequence[int]) -> None:
    """`pipes`: which standard streams are pipes of ours, that the program's user shall own."""
    call, settings = script.call, bundle["process"]
    environment = process.environment(settings, who, bundle["hostname"])
    call("close_range", CHANNEL + 1, _EVERY, 0)
    _work_in(script, settings["cwd"] or "/")
    if who.uid:
        for fd in pipes:
            call("fchown", fd, who.uid, who.gid, allowed=(errno.EPERM, 0))
    _confine(script, settings.get("apparmor", ""))
    bounding, effective = settings["capabilities"]["bounding"], settings["capabilities"]["effective"]
    last = process.last_capability()
    for number in range(last + 1):
        if not bounding >> number & 1:
            call("prctl", flags.PR_CAPBSET_DROP, number, 0, 0, 0)
    call("prctl", flags.PR_SET_KEEPCAPS, 1, 0, 0, 0)
    call("setgroups", len(who.groups), struct.pack(f"={len(who.groups)}I", *who.groups))
    call("setresgid", who.gid, who.gid, who.gid)
    call("setresuid", who.uid, who.uid, who.uid)
    permitted = calls.capget()  # the process's are ours
    filtered = process.program(settings)
    if settings.get("no_new_privs"):
        call("prctl", flags.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if filtered and not settings.get("no_new_privs"):
        _capset(script, permitted)
        _filter(script, filtered)  # needs CAP_SYS_ADMIN, which goes with the next line
        filtered = b""
    _capset(script, effective & (1 << (last + 1)) - 1 & permitted if who.uid == 0 else 0)
    if filtered:
        _filter(script, filtered)
    for number in _ignored():
        call("rt_sigaction", number, bytes(32), 0, 8)
    call("rt_sigprocmask", _SET_MASK, bytes(8), 0, 8)
    _execute(script, settings["args"], environment)


@functools.cache
def _ignored() -> list[int]:
    """Signals that a keeper ignores, from its start on."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]


def _work_in(script: Script, path: str) -> None:
    def refused(number: int) -> Exception:
        return process.cannot_work_in(path, OSError(number, os.strerror(number)))

    script.call("chdir", path, refused=refused)
    where = script.data(bytes(4096))
    script.call("getcwd", where, 4096)
    # "(unreachable)": a leaked host directory, CVE-2024-21626
    script.demand(where, 0xFF, ord("/"), refused=lambda _: process.outside(path))


def _confine(script: Script, profile: str) -> None:
    """See engine/keeper/child/kernel_settings.py."""
    if profile:
        proc = places.proc(script)
        file = places.written(script, proc, f"thread-self/{kernel_settings.exec_attribute()}")
        words = f"exec {profile}".encode()
        script.call("write", file, words, len(words), refused=lambda number: kernel_settings.refused(profile, number))
        script.call("close", file)
        script.call("close", proc)


def _capset(script: Script, mask: int) -> None:
    script.call("capset", *calls.capability_words(mask, mask, 0))


def _filter(script: Script, program: bytes) -> None:
    described = struct.pack("=HxxxxxxQ", len(program) // 8, script.data(program))
    script.call("seccomp", _SET_MODE_FILTER, 0, described)


def _execute(script: Script, args: list[str], environment: dict[str, str]) -> None:
    program = args[0]
    words = _pointers(script, args)
    variables = _pointers(script, [f"{name}={value}" for name, value in environment.items()])
    script.milestone()
    for path in process.candidates(program, environment):
        script.call("execve", path, words, variables, allowed=(errno.ENOENT, errno.ENOTDIR), flags=NOTE)
    script.demand(words, 0, 1, refused=lambda noted: process.cannot_execute(program, noted))


def _pointers(script: Script, texts: list[str]) -> int:
    return script.data(struct.pack(f"={len(texts) + 1}Q", *map(script.text, texts), 0))


def failure(error: Exception) -> Failure:
    """What the keeper says of it."""
    code = error.exit_code if isinstance(error, process.CannotExecute) else 125
    return {"error": str(error) or repr(error), "exit_code": code}
