"""Starts by a fork of the keeper, which carries out the steps directly; and further processes (exec).

    keeper ──clone(namespaces)──▶ run: all steps                                           (the host's user namespace)

    keeper ──fork──▶ enter: PREPARE with the host's privileges, become root of the user namespace,
                       └──clone(namespaces, CLONE_PARENT)──▶ the other steps               (a user namespace)

Cloning inside the user namespace makes it the owner of the other namespaces; CLONE_PARENT makes the new process the
keeper's child.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.errors import OperationFailed
from engine.keeper.child import (
    identity,
    kernel_settings,
    namespaces,
    privileges,
    process,
    standard_streams,
    steps,
    terminal,
)
from engine.keeper.child.direct import Direct
from engine.keeper.child.progress import Progress
from engine.keeper.protocol import Channel
from engine.kernel import calls, flags, idmap, own_words, userns

_SYS_PTRACE = 19
_PATIENCE = 10.0
"""Seconds."""

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from typing import NoReturn

    from engine.keeper.bundle import Bundle, Process
    from engine.keeper.messages import Exec


def run(bundle: Bundle, channel: Channel, pipes: Sequence[int]) -> NoReturn:
    """Become the container's first process, in new namespaces. Failures are reported to the keeper."""
    try:
        own_words.erase()
        kernel, progress = Direct(channel), Progress(bundle, pipes, channel.fileno())
        steps.carry_out((*steps.BEGIN, *steps.PREPARE, *steps.ENTER), kernel, progress)
        _finish(kernel, progress, channel)
    except BaseException as error:
        _failed(channel, error, 125)


def enter(bundle: Bundle, channel: Channel, report: Callable[[int], None], pipes: Sequence[int]) -> NoReturn:
    """The same in a user namespace. Calls `report` with the pid, as the keeper sees it."""
    try:
        own_words.erase()
        kernel, progress = Direct(channel), Progress(bundle, pipes, channel.fileno())
        kinds = bundle["namespaces"]
        steps.hide(kernel, progress)
        namespaces.enter_cgroups(kernel, progress)
        namespaces.open_others(kernel, progress)
        home = namespaces.open_namespace(kinds["pid"]) if kinds["pid"].startswith("/") else -1
        ids = progress.ids = namespaces.user_namespace(bundle)
        calls.unshare(flags.CLONE["mount"])
        steps.carry_out(steps.PREPARE, kernel, progress)
        standard_streams.give(kernel, pipes, *ids.owner(0, 0))
        if home >= 0:
            calls.setns(home, flags.CLONE["pid"], subject=kinds["pid"])
        userns.enter(ids.namespace)
        pid, _ = calls.clone(namespaces.bits(kinds) | flags.CLONE_PARENT)
        if pid:
            report(pid)
            os._exit(0)
        steps.hide(kernel, progress)
        steps.carry_out((*steps.JOIN, *steps.ENTER), kernel, progress)
        _finish(kernel, progress, channel)
    except BaseException as error:
        _failed(channel, error, 125)


def _finish(kernel: Direct, progress: Progress, channel: Channel) -> NoReturn:
    """Continue after the pause in which the session connects the network."""
    if channel.receive() is None:
        os._exit(125)  # the keeper died before `start`: this process is no longer needed
    settings = progress.bundle["process"]
    progress.user = identity.resolve(settings["user"], settings["groups"], _here())
    steps.carry_out(steps.FINISH, kernel, progress)
    os._exit(125)


@contextlib.contextmanager
def no_return() -> Iterator[None]:
    """A context manager around the code of a forked child: whatever it raises, the child never continues as a second
    keeper."""
    try:
        yield
    finally:
        os._exit(125)


def _settings(bundle: Bundle, request: Exec) -> Process:
    """The container's, with those of the request."""
    settings: Process = {**bundle["process"], **request["process"]}
    if request.get("privileged"):  # all capabilities; seccomp filter and profile stay the container's, as in Docker
        settings["capabilities"] = {"bounding": -1, "effective": -1}
    return settings


def _open_terminal(request: Exec, channel: Channel) -> None:
    """Make a pseudo-terminal the process's terminal, and send its master to the keeper."""
    master = terminal.open_pair(*request["process"].get("console_size", ()))
    channel.send({"event": "terminal"}, (master,))
    os.close(master)


def join_and_run(
    bundle: Bundle,
    request: Exec,
    pidfd: int,
    channel: Channel,
    report: Callable[[int], None],
    streams: Mapping[int, int],
) -> NoReturn:
    """Run a further process (exec). Calls `report` with its pid, as the keeper sees it. `streams` are its pipes by
    number.

    The process is created after joining everything else. So in the container's pid namespace, where others can inspect
    it, it never has another root directory or foreign descriptors, nor, if others may trace it, more privileges than
    the program.
    """
    try:
        own_words.erase()  # anyone may read the command line, which names paths of the host
        kernel, progress = Direct(channel), Progress(bundle, tuple(streams), channel.fileno())
        steps.hide(kernel, progress)
        settings = _settings(bundle, request)
        privileges.preload(bundle["process"]["seccomp"])
        for number, fd in streams.items():
            os.dup2(fd, number)
        process.keep_descriptors(kernel, pidfd, progress.channel)
        namespaces.enter_cgroups(kernel, progress)
        kernel_settings.limit(settings, 0)
        _join(kernel, progress, pidfd)
        # Another user gets only that user's groups.
        groups: list[str] = [] if "user" in request["process"] else settings["groups"]
        privileges.bound(kernel, settings)
        early = _may_be_traced(progress) and _may_renounce(progress, settings)
        if early:
            with _in_time():
                progress.user = identity.resolve(settings["user"], groups, _here())
                process.renounce(kernel, settings, progress.user, progress.pipes)
        steps.hide(kernel, progress)
        pid = calls.fork_sibling()
        if pid:
            report(pid)
            os._exit(0)
        os.setsid()
        if request.get("tty"):
            _open_terminal(request, channel)
        if early:
            process.keep_descriptors(kernel, progress.channel)
            process.execute(kernel, settings, progress.user, bundle["hostname"])
        user = identity.resolve(settings["user"], groups, _here())
        process.become(kernel, settings, user, bundle["hostname"], channel=progress.channel, pipes=progress.pipes)
        os._exit(126)
    except BaseException as error:
        _failed(channel, error, 125)


def _may_be_traced(progress: Progress) -> bool:
    """Whether a process that sees this one may have SYS_PTRACE in the host's user namespace: in the container, or in
    one whose pid namespace it has joined."""
    bounding = progress.bundle["process"]["capabilities"]["bounding"]
    return bool(bounding >> _SYS_PTRACE & 1) or progress.bundle["namespaces"]["pid"] != "new"


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Limit the time of this process, because the keeper waits for it: a file system of the container might never
    answer."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _may_renounce(progress: Progress, settings: Process) -> bool:
    """Whether privileges can be dropped before the process is created. A user's seccomp profile may forbid creating it.
    AppArmor is set through the process's own /proc, and prevents tracing anyway. In a user namespace, privileges have
    no effect outside."""
    own_filter = bool(settings.get("seccomp")) and settings.get("own_filter", True)
    return not (own_filter or settings.get("apparmor") or namespaces.maps(progress.bundle).uids)


def _join(kernel: Direct, progress: Progress, pidfd: int) -> None:
    """Join all namespaces of the container with the first process `pidfd` (which is closed), as root of its user
    namespace."""
    kinds = ["mount", "net", "ipc", "uts", "cgroup", "pid"]
    if not idmap.initial():  # an ordinary user's keeper is in the host's already, and may not join them
        kinds = [kind for kind in kinds if progress.bundle["namespaces"].get(kind) != "host"]
    ids = namespaces.maps(progress.bundle)
    if ids.uids:
        standard_streams.give(kernel, progress.pipes, *ids.owner(0, 0))
        kinds.append("user")
    calls.setns(pidfd, sum(flags.CLONE[kind] for kind in kinds), subject="the container's namespaces")
    os.close(pidfd)
    if ids.uids:
        userns.become_root()
    kernel.join_session_keyring(os.path.basename(progress.bundle["run_folder"]))
    os.chdir("/")
    standard_streams.fill(kernel, (number for number in range(3) if number not in progress.pipes))


def _here() -> int:
    return os.open("/", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _failed(channel: Channel, error: BaseException, code: int) -> NoReturn:
    if isinstance(error, process.CannotExecute):
        code = error.exit_code
    if isinstance(error, OSError):
        error = OperationFailed.of("access" if error.filename else "start", error.filename or "the process", error)
    try:
        channel.send({"event": "failed", "error": str(error) or repr(error), "exit_code": code})
    finally:
        os._exit(code)


def channel_pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(ours), Channel(theirs)
