"""The user's namespaces: a child process creates them and then only waits; its pid identifies them later. Standard
library only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import NoReturn

from engine.errors import EngineError, OperationFailed, Unsupported
from engine.keeper.child import dns
from engine.keeper.child.direct import Direct
from engine.kernel import calls, flags
from engine.poll import readable
from engine.rootless import ids

_RESTRICTED = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_KINDS = ("user", "mnt", "net")
_CLONE = {"user": flags.CLONE["user"], "mnt": flags.CLONE["mount"], "net": flags.CLONE["net"]}


class Namespace:
    """`pid` is the waiting process; the descriptors keep the namespaces alive even without it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        found = []
        for kind in _KINDS:
            found.append(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
        self.descriptors = tuple(found)
        self.identity = os.readlink(f"/proc/{pid}/ns/user")

    def enter(self) -> None:
        """Move this process, which must be single-threaded, inside."""
        for fd, kind in zip(self.descriptors, _KINDS, strict=True):
            calls.setns(fd, _CLONE[kind])

    def process_inside(self) -> int:
        """A process inside, other than the waiting one; 0 if there is none."""
        return _process_inside(self.identity, self.pid)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _process_inside(identity: str, waiting: int) -> int:
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != waiting:
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{entry}/ns/user") == identity:
                    return int(entry)
    return 0


def adopt(state_file: str) -> Namespace | None:
    """The namespace of an earlier instance that was killed; None if there is none."""
    try:
        with open(state_file, encoding="utf-8") as file:
            state = json.load(file)
        if calls.start_time(state["pid"]) == state["start"]:
            return Namespace(state["pid"])
    except (OSError, ValueError, KeyError):
        pass
    return None


def make(run_root: str) -> Namespace:
    """Create namespaces with the user's maps. Raises Unsupported with what the host or the account lacks."""
    uid, gid = os.getuid(), os.getgid()
    name = ids.user_name(uid)
    uids = ids.ranges(uid, ids.subordinate("uid", uid, name))
    gids = ids.ranges(gid, ids.subordinate("gid", uid, name))
    for kind in ("uid", "gid"):
        ids.tool(f"new{kind}map")
    ours, theirs = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(ours[1], theirs[0], run_root)
    os.close(ours[1])
    os.close(theirs[0])
    # `theirs` stays open as long as this process runs; its end notifies the waiting process.
    try:
        _expect(ours[0])
        ids.write_maps(pid, uids, gids)
        os.write(theirs[1], b"m")
        _expect(ours[0])
        return Namespace(pid)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(ours[0])


def _expect(fd: int) -> None:
    answer = os.read(fd, 4096).decode(errors="replace")
    if answer != "1":
        message, _, hint = answer.lstrip("!").partition("\n")
        raise Unsupported(message or "the process that creates the namespace has exited", hint=hint)


def _child(to_parent: int, from_parent: int, run_root: str) -> NoReturn:
    """Create the namespaces, wait for the maps, set up the inside; then wait until the namespace is no longer
    needed."""
    low, high = sorted((to_parent, from_parent))
    for first, last in ((3, low - 1), (low + 1, high - 1), (high + 1, 0xFFFFFFFF)):
        if first <= last:
            calls.close_range(first, last)
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        name_process("composer-ns")
        try:
            calls.unshare(flags.CLONE["user"] | flags.CLONE["mount"] | flags.CLONE["net"])
        except OperationFailed as error:
            raise Unsupported(str(error), hint=_why_refused()) from error
        os.write(to_parent, b"1")
        if os.read(from_parent, 1) != b"m":
            os._exit(1)
        _arrange(run_root)
        os.write(to_parent, b"1")
        os.close(to_parent)
        identity = os.readlink("/proc/self/ns/user")
        os.read(from_parent, 1)  # our parent has exited, and the namespace is empty
        _until_empty(identity)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(to_parent, f"!{error}".encode()[:4096])
    os._exit(0)


def _until_empty(identity: str) -> None:
    while pid := _process_inside(identity, os.getpid()):
        try:
            pidfd = calls.pidfd_open(pid)
        except EngineError:
            continue
        readable(pidfd)
        os.close(pidfd)


def _arrange(run_root: str) -> None:
    """Bring lo up; our mounts stay inside, and mounts of the host still propagate into it."""
    try:
        calls.mount(None, "/", None, flags.MS["rec"] | flags.MS["slave"])
    except OperationFailed as error:
        raise Unsupported(str(error), hint=_why_refused()) from error
    dns.loopback_up(Direct())


def _why_refused() -> str:
    """The host's setting that forbids user namespaces, and how root can change it."""
    with contextlib.suppress(OSError), open(_RESTRICTED, encoding="ascii") as file:
        if file.read().strip() == "1":
            return (
                "AppArmor on this host lets ordinary users create namespaces only in programs whose profile allows it; "
                "root can load one for composer with scripts/prepare --packages rootless, or as docs/rootless.md describes."
            )
    for path, refusing, command in (
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ):  # fmt: skip
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            if file.read().strip() == refusing:
                return f"This host does not let ordinary users create user namespaces; root can allow it: {command}"
    return "This host does not let ordinary users create namespaces; run composer as root."


def name_process(name: str) -> None:
    """The name that ps(1) shows."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(name)
