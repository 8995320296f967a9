"""Signals to a container, stopping it, pausing it."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal as signals

from anyio import Event, move_on_after

from engine import disk_reserve
from engine.errors import EngineError, InvalidSpec, OperationFailed, WrongState
from engine.kernel import calls
from engine.session.group import Group
from engine.session.signals import number
from engine.spec.container import ContainerSpec
from engine.spec.state import ContainerExit, Status

DEFAULT_STOP_TIMEOUT = 10.0
"""Seconds between the stop signal and SIGKILL, as in Docker."""


async def signal(group: Group, container_id: str, wanted: int | str) -> None:
    """See Changes.signal."""
    wanted = number(wanted) if isinstance(wanted, str) else wanted
    record = group.record(container_id)
    if not record.state.status.can_kill:
        raise WrongState(f"container {record.spec.name} is not running")
    if not record.state.stopped_by_user and _counts_as_stop(group, record.spec, wanted):
        with contextlib.suppress(OperationFailed):  # a full disk: this process remembers it
            group.change(container_id, stopped_by_user=True)
    await (await group.keeper()).ask("signal", id=container_id, signal=wanted)
    if record.state.status is Status.PAUSED and wanted == 9:
        unpause(group, container_id)


def _counts_as_stop(group: Group, spec: ContainerSpec, wanted: int) -> bool:
    """Whether a signal is a stop for the restart policy: moby, daemon/kill.go (ExitOnNext, HasBeenManuallyStopped)."""
    own = _own(group, spec)
    return wanted == 9 or spec.restart.policy == "unless-stopped" or not own or own == wanted


def _own(group: Group, spec: ContainerSpec) -> int:
    """The container's stop signal, 0 for none. An invalid signal counts as none, as in Docker: images may contain
    anything, and their containers must be stoppable."""
    with contextlib.suppress(InvalidSpec):
        if own := spec.stop_signal or group.image(spec.image).config.stop_signal:
            return number(own)
    return 0


async def stop(group: Group, container_id: str, timeout: float | None, wanted: str) -> ContainerExit | None:
    """See Changes.stop."""
    record = group.record(container_id)
    if not record.state.status.alive:
        return None
    event = group.ended.setdefault(container_id, Event())
    if record.state.status is Status.PAUSED:
        unpause(group, container_id)
    first = number(wanted) if wanted else _own(group, record.spec) or signals.SIGTERM
    if timeout is None:
        timeout = DEFAULT_STOP_TIMEOUT if record.spec.stop_timeout is None else record.spec.stop_timeout
    group.names.retire(container_id)
    try:
        await _end(group, container_id, first, timeout, event)
    except BaseException:
        if not event.is_set():
            group.publish(container_id)  # let it continue
        raise
    state = group.record(container_id).state
    return ContainerExit(exit_code=state.exit_code, finished_at=state.finished_at, oom_killed=state.oom_killed)


_LEAST = 0.02
"""Seconds that a program has to end by itself even with a timeout of 0. With Docker Engine, SIGKILL also arrives a little later
than the first signal, so a program that obeys it ends with its own exit code."""


async def _end(group: Group, container_id: str, first: int, timeout: float, event: Event) -> None:
    await _send(group, container_id, first)
    with move_on_after(math.inf if timeout < 0 else max(timeout, _LEAST)):
        await event.wait()
    if not event.is_set():
        await _kill(group, container_id)
        await event.wait()


def afford_start(group: Group) -> None:
    """See Changes.afford_start."""
    if not disk_reserve.afford_start(group.roots.state):
        raise OperationFailed(
            "reserve space for its next start in", group.roots.state, errno.ENOSPC, hint="The container keeps running."
        )


async def _send(group: Group, container_id: str, wanted: int) -> None:
    """Send a signal through the keeper, or directly to the process while a killed keeper is being replaced. If the
    process has exited, nothing happens: the report of its exit is on the way."""
    try:
        await signal(group, container_id, wanted)
    except EngineError:
        state = group.record(container_id).state
        with contextlib.suppress(EngineError, OSError):
            pidfd = calls.pidfd_open(state.pid)
            try:
                if calls.start_time(state.pid) == state.pid_start:
                    calls.pidfd_send_signal(pidfd, wanted)
            finally:
                os.close(pidfd)


async def _kill(group: Group, container_id: str) -> None:
    try:
        await signal(group, container_id, 9)
    except EngineError:
        group.cgroups.handle(group.name, container_id, group.record(container_id).spec.cgroup_parent).kill()


def pause(group: Group, container_id: str) -> None:
    """See Changes.pause."""
    record = group.record(container_id)
    if record.state.status is Status.PAUSED:
        raise WrongState(f"container {record.spec.name} is already paused")
    if not record.state.status.can_pause:
        raise WrongState(f"container {record.spec.name} is not running")
    cgroup = group.cgroups.handle(group.name, container_id, record.spec.cgroup_parent)
    cgroup.freeze()
    try:
        group.change(container_id, status=Status.PAUSED)
    except OperationFailed:
        cgroup.thaw()
        raise


def unpause(group: Group, container_id: str) -> None:
    """See Changes.unpause."""
    record = group.record(container_id)
    if record.state.status is not Status.PAUSED:
        raise WrongState(f"container {record.spec.name} is not paused")
    group.cgroups.handle(group.name, container_id, record.spec.cgroup_parent).thaw()
    group.change(container_id, status=Status.RUNNING)
