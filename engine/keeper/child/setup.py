"""From the fork to execve(2), as one visible list of steps."""

from __future__ import annotations

import os
import socket
from typing import Any, NoReturn

from engine.keeper.child import dns, identity, init, kernel_settings, namespaces, process, rootfs, terminal
from engine.keeper.protocol import Channel
from engine.kernel import calls, flags

Bundle = dict[str, Any]


def run(bundle: Bundle, channel: Channel) -> NoReturn:
    """Become the container's first process. Everything that fails is told to the keeper over `channel`."""
    code = 125
    try:
        os.setsid()
        calls.prctl(flags.PR_SET_DUMPABLE, 0)
        calls.prctl(flags.PR_SET_PDEATHSIG, 0)
        namespaces.enter_cgroups(bundle["cgroup_procs"])
        namespaces.join(bundle["namespaces"])
        descriptors = () if bundle.get("dns") is None else dns.open_sockets(bundle["dns"])
        channel.send({"event": "sockets"}, descriptors)
        for fd in descriptors:
            os.close(fd)
        master = rootfs.build(bundle)
        if master is not None:
            channel.send({"event": "terminal"}, (master,))
            os.close(master)
        kernel_settings.name(bundle)
        channel.send({"event": "ready"})
        if channel.receive() is None:
            os._exit(125)  # the keeper has gone before `start`: nobody wants us any more
        kernel_settings.apply(bundle)
        rootfs.seal(bundle)
        settings = bundle["process"]
        who = identity.resolve(settings["user"], settings["groups"])
        first = -1
        if settings["init"]:
            calls.prctl(flags.PR_SET_CHILD_SUBREAPER, 1)  # where another container's first process is number 1
            first = init.program()
        process.become(settings, who, bundle["hostname"], channel.fileno(), first=True, init=first)
    except process.CannotExecute as error:
        code = error.exit_code
        channel.send({"event": "failed", "error": str(error), "exit_code": code})
    except Exception as error:  # the keeper turns it into a StartFailed
        channel.send({"event": "failed", "error": str(error) or repr(error), "exit_code": 125})
    os._exit(code)


def join_and_run(bundle: Bundle, request: dict[str, Any], pidfd: int, channel: Channel) -> NoReturn:
    """A further process (exec): we are in the container's pid namespace already; join the rest and execute."""
    code = 126
    try:
        os.setsid()
        calls.prctl(flags.PR_SET_DUMPABLE, 0)
        namespaces.enter_cgroups(bundle["cgroup_procs"])
        process.preload(bundle["process"]["seccomp"])
        kinds = ("mount", "net", "ipc", "uts", "cgroup")
        calls.setns(pidfd, sum(flags.CLONE[kind] for kind in kinds), subject="the container's namespaces")
        os.chdir("/")
        if request.get("tty"):
            master = terminal.open_pair()
            channel.send({"event": "terminal"}, (master,))
            os.close(master)
        kernel_settings.limits(bundle)
        settings = {**bundle["process"], **request["process"]}
        if request.get("privileged"):
            settings["capabilities"] = {"bounding": -1, "effective": -1}
            settings["seccomp"] = ""
        # Who asks for another user gets that one's groups and no more.
        groups = [] if "user" in request["process"] else settings["groups"]
        who = identity.resolve(settings["user"], groups)
        process.become(settings, who, bundle["hostname"], channel.fileno(), first=False)
    except process.CannotExecute as error:
        code = error.exit_code
        channel.send({"event": "failed", "error": str(error), "exit_code": code})
    except Exception as error:
        channel.send({"event": "failed", "error": str(error) or repr(error), "exit_code": code})
    os._exit(code)


def channel_pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(ours), Channel(theirs)
