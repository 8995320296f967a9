"""Create a container's first process: by a script if possible, otherwise by a fork of the keeper."""

from __future__ import annotations

import os

from engine.keeper import forking, pipes
from engine.keeper.child import namespaces, setup
from engine.keeper.protocol import Channel
from engine.keeper.script.start import Start
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.keeper.bundle import Bundle


def begin(bundle: Bundle, child_fds: dict[str, int]) -> tuple[Start, Channel] | None:
    """Create it by a script: returns the start, and the channel on which the process reports. None if only a fork can
    do it, or reports errors better. The fork gets a new channel, because the script's process may already have reported
    something."""
    ours, theirs = setup.channel_pair()
    try:
        return Start(bundle, theirs, child_fds), ours
    except Exception:
        ours.close()
        return None
    finally:
        theirs.close()


def fork(bundle: Bundle, child_fds: dict[str, int]) -> tuple[int, int, Channel]:
    """Create it by a fork: returns pid, pidfd and the channel on which the process reports. `child_fds` are its standard
    streams by name; missing ones are /dev/null. Raises OSError or EngineError; then there is no process."""
    ours, theirs = setup.channel_pair()
    try:
        if bundle["namespaces"].get("user", "host") != "host":
            pid, pidfd = _enter(bundle, ours, theirs, child_fds)
        else:
            pid, pidfd = _clone(bundle["namespaces"])
            if pid == 0:
                with setup.no_return():
                    ours.close()
                    _use(child_fds)
                    setup.run(bundle, theirs, pipes.numbers(child_fds))
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, pidfd, ours


def _clone(kinds: dict[str, str]) -> tuple[int, int]:
    """Fork into the new namespaces, or another container's shared pid namespace. The session may use them as soon as it
    has the pid."""
    if not kinds["pid"].startswith("/"):
        return calls.clone(namespaces.bits(kinds))
    theirs = namespaces.open_namespace(kinds["pid"])
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        calls.setns(theirs, flags.CLONE["pid"], subject=kinds["pid"])
        try:
            pid, pidfd = calls.clone(namespaces.bits(kinds))
        except BaseException:
            calls.setns(home, flags.CLONE["pid"])
            raise
        if pid:  # the child stays in its pid namespace
            calls.setns(home, flags.CLONE["pid"])
        return pid, pidfd
    finally:
        os.close(home)
        os.close(theirs)


def _enter(bundle: Bundle, ours: Channel, theirs: Channel, child_fds: dict[str, int]) -> tuple[int, int]:
    """Fork a process that enters the user namespace and leaves us the container's as our child."""

    def child(report: Callable[[int], None]) -> None:
        _use(child_fds)
        setup.enter(bundle, theirs, report, pipes.numbers(child_fds))

    return forking.spawn_via_helper(child, ours, theirs)


def _use(child_fds: dict[str, int]) -> None:
    """Set the child's standard streams."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number, name in enumerate(pipes.NAMES):
        os.dup2(child_fds.get(name, null), number)
