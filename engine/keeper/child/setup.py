"""From the fork to execve(2), as one visible list of steps.

    keeper ──clone(namespaces)──▶ run: prepare, assemble, seal, execute                    (the host's user namespace)

    keeper ──fork──▶ enter: prepare with the host's privileges, become root of the user namespace,
                       └──clone(namespaces, CLONE_PARENT)──▶ assemble, seal, execute       (a user namespace)

The clone in the user namespace makes the other namespaces belong to it; CLONE_PARENT makes the result the keeper's child.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping

from engine.keeper.child import (
    dns,
    identity,
    init,
    kernel_settings,
    namespaces,
    process,
    rootfs,
    standard_streams,
    terminal,
)
from engine.keeper.child.namespaces import Ids
from engine.keeper.protocol import Channel
from engine.kernel import calls, flags, userns

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from typing import NoReturn

    from engine.keeper.bundle import Bundle, Process
    from engine.keeper.messages import Exec


def run(bundle: Bundle, channel: Channel) -> NoReturn:
    """Become the container's first process, in namespaces just made. All that fails is told to the keeper."""
    try:
        _hide()
        namespaces.enter_cgroups(bundle["cgroup_procs"])
        opened = namespaces.others(bundle["namespaces"])
        _start(bundle, channel, opened, None, Ids())
    except BaseException as error:
        _failed(channel, error, 125)


def enter(bundle: Bundle, channel: Channel, report: int) -> NoReturn:
    """The same in a user namespace; the process's pid, as the keeper sees it, is written to `report`."""
    try:
        _hide()
        kinds = bundle["namespaces"]
        namespaces.enter_cgroups(bundle["cgroup_procs"])
        opened = namespaces.others(kinds)
        home = namespaces.open_namespace(kinds["pid"]) if kinds["pid"].startswith("/") else -1
        ids = namespaces.user_namespace(bundle)
        calls.unshare(flags.CLONE["mount"])
        parts = rootfs.prepare(bundle, ids)
        standard_streams.give(*ids.owner(0, 0))
        if home >= 0:
            calls.setns(home, flags.CLONE["pid"], subject=kinds["pid"])
        userns.enter(ids.namespace)
        pid, _ = calls.clone(namespaces.bits(kinds) | flags.CLONE_PARENT)
        if pid:
            os.write(report, str(pid).encode())
            os._exit(0)
        os.close(report)
        _hide()
        _start(bundle, channel, opened, parts, ids)
    except BaseException as error:
        _failed(channel, error, 125)


@contextlib.contextmanager
def no_return() -> Iterator[None]:
    """Around all that a forked child does: whatever is raised there, it does not go on as a second keeper."""
    try:
        yield
    finally:
        os._exit(125)


def _hide() -> None:
    """Nobody in the container may trace us, read our memory or follow /proc/<pid>/exe to our binary (CVE-2019-5736)."""
    calls.prctl(flags.PR_SET_DUMPABLE, 0)
    calls.prctl(flags.PR_SET_PDEATHSIG, 0)


def _start(bundle: Bundle, channel: Channel, opened: dict[str, int], parts: rootfs.Parts | None, ids: Ids) -> NoReturn:
    os.setsid()
    namespaces.join(bundle["namespaces"], opened)
    calls.join_session_keyring(os.path.basename(bundle["run_folder"]))
    if bundle["namespaces"].get("net") == "new":
        dns.loopback_up()  # also with no other network
    port = bundle.get("dns")
    descriptors = () if port is None else dns.open_sockets(port)
    channel.send({"event": "sockets"}, descriptors)
    for fd in descriptors:
        os.close(fd)
    master = rootfs.assemble(bundle, parts or rootfs.prepare(bundle, ids), ids)
    if master is None and not bundle["process"]["stdin"]:
        standard_streams.fill([0])
    if master is not None:
        channel.send({"event": "terminal"}, (master,))
        os.close(master)
    kernel_settings.name(bundle)
    channel.send({"event": "ready"})
    if channel.receive() is None:
        os._exit(125)  # the keeper has gone before `start`: nobody wants us any more
    kernel_settings.apply(bundle["sysctls"])
    rootfs.seal(bundle)
    settings = bundle["process"]
    who = identity.resolve(settings["user"], settings["groups"], _here())
    first = -1
    if settings["init"]:
        calls.prctl(flags.PR_SET_CHILD_SUBREAPER, 1)  # where another container's first process is number 1
        first = init.program()
    process.become(settings, who, bundle["hostname"], channel.fileno(), init=first)


def join_and_run(
    bundle: Bundle, request: Exec, pidfd: int, channel: Channel, report: int, streams: Mapping[int, int]
) -> NoReturn:
    """A further process (exec); its pid, as the keeper sees it, is written to `report`. `streams` are its pipes by number.

    It is made when everything has been joined: in the container's pid namespace, where it can be looked at, it never had
    another root directory or descriptors that are not its own.
    """
    try:
        _hide()
        settings: Process = {**bundle["process"], **request["process"]}
        process.preload(bundle["process"]["seccomp"])
        for number, fd in streams.items():
            os.dup2(fd, number)
        process.keep_descriptors(pidfd, channel.fileno(), report)
        namespaces.enter_cgroups(bundle["cgroup_procs"])
        kernel_settings.limit(settings, 0)
        kinds = ["mount", "net", "ipc", "uts", "cgroup", "pid"]
        ids = namespaces.maps(bundle)
        if ids.uids:
            standard_streams.give(*ids.owner(0, 0))
            kinds.append("user")
        calls.setns(pidfd, sum(flags.CLONE[kind] for kind in kinds), subject="the container's namespaces")
        os.close(pidfd)
        if ids.uids:
            userns.become_root()
        calls.join_session_keyring(os.path.basename(bundle["run_folder"]))
        os.chdir("/")
        standard_streams.fill(number for number in range(3) if number not in streams)
        if request.get("privileged"):  # all capabilities; filter and profile stay the container's, as with Docker
            settings["capabilities"] = {"bounding": -1, "effective": -1}
        process.bound(settings)
        _hide()
        pid, _ = calls.clone(flags.CLONE_PARENT)
        if pid:
            os.write(report, str(pid).encode())
            os._exit(0)
        os.close(report)
        os.setsid()
        if request.get("tty"):
            master = terminal.open_pair(*request["process"].get("console_size", ()))
            channel.send({"event": "terminal"}, (master,))
            os.close(master)
        # Who asks for another user gets that one's groups and no more.
        groups: list[str] = [] if "user" in request["process"] else settings["groups"]
        who = identity.resolve(settings["user"], groups, _here())
        process.become(settings, who, bundle["hostname"], channel.fileno())
    except BaseException as error:
        _failed(channel, error, 126)


def _here() -> int:
    return os.open("/", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _failed(channel: Channel, error: BaseException, code: int) -> NoReturn:
    if isinstance(error, process.CannotExecute):
        code = error.exit_code
    try:
        channel.send({"event": "failed", "error": str(error) or repr(error), "exit_code": code})
    finally:
        os._exit(code)


def channel_pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(ours), Channel(theirs)
