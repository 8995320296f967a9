"""The events of one container between two of its states, in Docker's order and with its attributes (Docker Engine API 1.55,
SystemEvents).

    start   volume mount, network connect, start
    end     oom, kill, network disconnect, volume unmount, stop, die
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from engine.spec.image import ImageConfig
    from engine.spec.state import ContainerRecord, ContainerState

KILLED = 128 + signal.SIGKILL


class LifeEvent(Struct, frozen=True):
    """One event: `kind` is container, network or volume, `actor` "" for the container itself."""

    timestamp: float
    action: str
    kind: str = "container"
    actor: str = ""
    attributes: Mapping[str, str] = {}


class SharedObjects(Struct, frozen=True):
    """The networks and volumes at that time: network name → (id, driver), volume name → driver."""

    networks: Mapping[str, tuple[str, str]]
    volumes: Mapping[str, str]


def exits_and_starts(
    was: ContainerState | None, new: ContainerRecord, shared: SharedObjects, reported: set[int] | None, own_signal: int
) -> Iterator[LifeEvent]:
    """`reported` are the signals that were reported as they were sent, None if the container was killed instead of stopped;
    `own_signal` is its stop signal."""
    state = new.state
    ended = state.finished_at > (was.finished_at if was else 0.0)
    started = state.started_at > (was.started_at if was else 0.0)
    if started and not (ended and state.finished_at < state.started_at):
        yield from start(new, shared)
    if ended:
        yield from end(new, shared, reported, own_signal)
    if started and ended and state.finished_at < state.started_at:
        yield from start(new, shared)


def start(record: ContainerRecord, shared: SharedObjects) -> Iterator[LifeEvent]:
    timestamp = record.state.started_at
    for name, target, read_only in _volumes(record):
        attributes = {
            "container": record.id, "destination": target, "driver": shared.volumes.get(name, "local"),
            "propagation": "", "read/write": "false" if read_only else "true",
        }  # fmt: skip
        yield LifeEvent(timestamp, "mount", "volume", name, attributes)
    yield from _networks(record, shared, timestamp, "connect")
    yield LifeEvent(timestamp, "start")


def end(
    record: ContainerRecord, shared: SharedObjects, reported: set[int] | None, own_signal: int
) -> Iterator[LifeEvent]:
    state = record.state
    timestamp = state.finished_at
    if state.oom_killed:
        yield LifeEvent(timestamp, "oom")
    stopped = state.stopped_by_user and reported is not None
    if stopped and reported is not None:
        sent = [own_signal, *([signal.SIGKILL] if state.exit_code == KILLED and own_signal != signal.SIGKILL else [])]
        for number in sent:
            if number not in reported:
                yield LifeEvent(timestamp, "kill", attributes={"signal": str(int(number))})
    yield from releases(record, shared, timestamp)
    if stopped:
        yield LifeEvent(timestamp, "stop")
    lasted = max(0, round(timestamp - state.started_at))
    yield LifeEvent(timestamp, "die", attributes={"execDuration": str(lasted), "exitCode": str(state.exit_code)})


def releases(record: ContainerRecord, shared: SharedObjects, timestamp: float) -> Iterator[LifeEvent]:
    """The events of what a container releases when it exits."""
    yield from _networks(record, shared, timestamp, "disconnect")
    for name, _, _ in _volumes(record):
        attributes = {"container": record.id, "driver": shared.volumes.get(name, "local")}
        yield LifeEvent(timestamp, "unmount", "volume", name, attributes)


def _volumes(record: ContainerRecord) -> list[tuple[str, str, bool]]:
    found = [(m.source, m.target, m.read_only) for m in record.spec.mounts if m.type == "volume" and m.source]
    return sorted(found, key=lambda one: one[1])


def _networks(record: ContainerRecord, shared: SharedObjects, timestamp: float, action: str) -> Iterator[LifeEvent]:
    names = [one.network for one in record.spec.networks] or [record.spec.network_mode]
    for name in names:
        if name in shared.networks:
            identity, driver = shared.networks[name]
            attributes = {"container": record.id, "name": name, "type": driver}
            yield LifeEvent(timestamp, action, "network", identity, attributes)


def number_of(name: str) -> int:
    """A signal by name or number, as kill(1) takes it. KeyError, ValueError."""
    if name.isascii() and name.isdecimal():
        return int(name)
    plain = name.upper().removeprefix("SIG")
    base, _, offset = plain.replace("-", "+-").partition("+")
    return int(signal.Signals[f"SIG{base}"]) + int(offset or 0)


def deleted(record: ContainerRecord, shared: SharedObjects, timestamp: float, *, reported: bool) -> Iterator[LifeEvent]:
    """The events before the destroy event of a container that was running when last observed, so that its exit was
    missed."""
    attributes: dict[str, Any] = {
        "execDuration": str(max(0, round(timestamp - record.state.started_at))), "exitCode": str(KILLED),
    }  # fmt: skip
    if not reported:
        yield LifeEvent(timestamp, "kill", attributes={"signal": str(int(signal.SIGKILL))})
    yield from releases(record, shared, timestamp)
    yield LifeEvent(timestamp, "die", attributes=attributes)


def probes(was: ContainerState, new: ContainerRecord, config: ImageConfig | None) -> Iterator[LifeEvent]:
    """The health checks since `was`, which Docker reports as it does other processes in the container."""
    latest = was.health.log[-1].start if was.health and was.health.log else 0.0
    own, images = new.spec.healthcheck, config.healthcheck if config else None
    kind, *words = (own.test if own else None) or (images.test if images else None) or ("NONE",)
    shell = list(config.shell if config else ()) or ["/bin/sh", "-c"]
    text = " ".join([*shell, *words] if kind == "CMD-SHELL" else words)
    for probe in new.state.health.log if new.state.health else ():
        if probe.start > latest:
            execution = {"execID": hashlib.sha256(f"{new.id} {probe.start}".encode()).hexdigest()}
            yield LifeEvent(probe.start, f"exec_create: {text}", attributes=execution)
            yield LifeEvent(probe.start, f"exec_start: {text}", attributes=execution)
            yield LifeEvent(probe.end, "exec_die", attributes={**execution, "exitCode": str(probe.exit_code)})
