"""Watches the state root, and adds Docker's events to the journal. Those of containers are derived from their states: of a
container that starts and exits between two observations, at least start and end are reported.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import anyio

from composer.serve.docker.event_journal import Journal
from composer.serve.docker.followers import Follower, Followers
from composer.serve.docker.life_events import LifeEvent, SharedObjects, deleted, exits_and_starts, number_of, probes
from composer.serve.docker.outputs import Outputs
from composer.view.networks import every
from engine.errors import EngineError
from engine.spec.network import BUILD_NETWORK
from engine.spec.state import Status
from engine.vocabulary import PREDEFINED_NETWORKS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from composer.run.port import Engine
    from engine.paths import Roots
    from engine.spec.state import ContainerRecord

REMEMBERED_NETWORKS = 4096
"""The number of networks whose names are remembered."""
SETTLE = 0.05
"""Seconds between the last output sent to a client and the event of the container's exit, so that the client can print
the output first."""


class Observer:
    """Watches the state root, and adds an event to the journal for each change."""

    def __init__(self, engine: Engine, roots: Roots, journal: Journal) -> None:
        self._engine, self._roots, self._journal = engine, roots, journal
        self._known: dict[str, dict[str, ContainerRecord]] = {}
        self._watched: set[str] = set()
        self._watch = engine.watch_groups()
        self.outputs = Outputs()
        self._followers = Followers()
        self._postponed: dict[str, ContainerRecord] = {}
        """Containers whose exit is reported once their output has been sent, as they were at their exit."""
        self._released: set[str] = set()
        self._tasks: anyio.abc.TaskGroup | None = None
        self.begun = anyio.Event()
        """Set once the journal has recorded what existed at the start."""
        self.killed: set[str] = set()
        """Containers that a client has killed; no stop event follows."""
        self.stopping: dict[str, set[int]] = {}
        """Containers that a client stops → the signals that were reported."""
        self._remembered_networks: dict[str, tuple[str, str]] = {}
        self._networks = self._network_names()
        self._volumes = self._volume_names()

    async def run(self) -> None:
        os.makedirs(self._roots.groups, mode=0o700, exist_ok=True)
        top = [self._roots.groups, f"{self._roots.database}-wal", self._roots.database]
        watch = self._engine.watch_files(top, skip=lambda path: path != self._roots.groups)
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._take_in(first=True)
                tasks.start_soon(self._read_groups)
                self.begun.set()
                while True:
                    await anyio.wait_readable(watch.fileno())
                    watch.read()
                    self._take_in()
                    self._shared()
        finally:
            watch.close()
            self._watch.close()

    def _take_in(self, *, first: bool = False) -> None:
        groups = set(self._engine.groups())
        for group in self._watched - groups:
            self._forget(group)
        for group in groups - self._watched:
            try:
                self._watch.add(group)
            except EngineError:
                continue
            self._watched.add(group)
            if first:
                self._known[group] = self._containers(group)
                self._past(self._known[group].values())
            else:
                self._look(group)

    async def _read_groups(self) -> None:
        while True:
            await anyio.wait_readable(self._watch.fileno())
            for group, changed in self._watch.read().items():
                self._followers.notify(group, changed)
                if "" in changed and group not in self._engine.groups():
                    self._forget(group)
                else:
                    self._look(group)

    def _forget(self, group: str) -> None:
        """Note that a group was removed."""
        self._watched.discard(group)
        self._watch.remove(group)
        self._followers.notify(group)
        self._changes(group, {})
        self._known.pop(group, None)

    def follow(self, record: ContainerRecord) -> AbstractContextManager[Follower]:
        """A context manager that gives what waits for changes of a container: its state, its log, its removal. Raises
        EngineError where the kernel has no watch left."""
        if record.group not in self._watched and self._tasks is not None:
            self._take_in()
            self._watch.add(record.group)
        return self._followers.follow(record.group, record.id)

    def _containers(self, group: str) -> dict[str, ContainerRecord]:
        return {record.id: record for record in self._engine.containers(group)}

    def _look(self, group: str) -> None:
        self._changes(group, self._containers(group))

    def look(self, group: str) -> None:
        """Observe a group now, after an operation of this server on it."""
        if group in self._watched:
            self._look(group)

    def _changes(self, group: str, after: dict[str, ContainerRecord]) -> None:
        before = self._known.get(group, {})
        after = {
            key: before[key] if self._hold(group, before.get(key), record) else record for key, record in after.items()
        }
        self._known[group] = after
        for key, record in after.items():
            old = before.get(key)
            if old is None or (record.state, record.spec.name) != (old.state, old.spec.name):
                self._steps(old, record)
        for key, record in before.items():
            if key not in after:
                self._released.discard(key)
                if (
                    ended := self._postponed.pop(key, None)
                ) is not None:  # it removed itself before its output was sent
                    self._steps(record, ended)
                elif record.state.status.alive:
                    self._report(
                        record, deleted(record, self._shared_objects(), time.time(), reported=key in self.killed)
                    )
                self.killed.discard(key)
                self.stopping.pop(key, None)
                self._journal.container("destroy", record)

    def _hold(self, group: str, old: ContainerRecord | None, new: ContainerRecord) -> bool:
        """Whether the container has exited but its output is still being sent; then it is observed again afterwards."""
        key = new.id
        if old is None or not old.state.status.alive or new.state.finished_at <= old.state.finished_at:
            return False
        if key in self._released or self._tasks is None or not (self.outputs.busy(key) or key in self._postponed):
            self._released.discard(key)
            return False
        if key not in self._postponed:
            self._tasks.start_soon(self._release, group, key)
        self._postponed[key] = new
        return True

    async def _release(self, group: str, container_id: str) -> None:
        await self.outputs.drained(container_id)
        await anyio.sleep(SETTLE)
        if self._postponed.pop(container_id, None) is not None:
            self._released.add(container_id)
        self.look(group)

    def _past(self, records: Any) -> None:
        """Events from before this server started, as far as records show them."""
        for record in records:
            state = record.state
            self._journal.container("create", record, state.created_at)
            if state.started_at:
                self._journal.container("start", record, state.started_at)
            if state.finished_at:
                self._journal.container("die", record, state.finished_at, exitCode=str(state.exit_code))

    def _steps(self, old: ContainerRecord | None, new: ContainerRecord) -> None:
        """The events that lead from one state of a container to another."""
        add_event, state, was = self._journal.container, new.state, old.state if old else None
        if was is None:
            add_event("create", new, state.created_at)
        elif (was.status, state.status) == (Status.RUNNING, Status.PAUSED):
            add_event("pause", new)
        elif (was.status, state.status) == (Status.PAUSED, Status.RUNNING):
            add_event("unpause", new)
        if old is not None and old.spec.name != new.spec.name:
            add_event("rename", new, oldName=f"/{old.spec.name}")
        if was is None or (was.started_at, was.finished_at) != (state.started_at, state.finished_at):
            reported = None if new.id in self.killed else self.stopping.get(new.id, set())
            self._report(new, exits_and_starts(was, new, self._shared_objects(), reported, self._stop_signal(new)))
            if was is not None and was.finished_at != state.finished_at:
                self.killed.discard(new.id)
                self.stopping.pop(new.id, None)
        if was is not None and state.health != was.health:
            image = self._engine.image(new.spec.image)
            self._report(new, probes(was, new, image.config if image else None))
        health = state.health.status if state.health else ""
        if health and health != "starting" and health != (was.health.status if was and was.health else ""):
            add_event(f"health_status: {health}", new)

    def _report(self, record: ContainerRecord, events: Iterable[LifeEvent]) -> None:
        for one in events:
            if one.kind == "container":
                self._journal.container(one.action, record, one.timestamp, **one.attributes)
            else:
                self._journal.add(one.kind, one.action, one.actor, one.attributes, one.timestamp)

    def _shared_objects(self) -> SharedObjects:
        """Networks that were removed with their last container are still needed for its events."""
        self._remembered_networks |= {
            record.spec.name: (record.id, record.spec.driver) for record in every(self._engine)
        }
        while len(self._remembered_networks) > REMEMBERED_NETWORKS:
            del self._remembered_networks[next(iter(self._remembered_networks))]
        return SharedObjects(self._remembered_networks, self._volumes)

    def _stop_signal(self, record: ContainerRecord) -> int:
        image = self._engine.image(record.spec.image)
        name = record.spec.stop_signal or (image.config.stop_signal if image else "")
        try:
            return number_of(name or "SIGTERM")
        except (KeyError, ValueError):
            return int(signal.SIGTERM)

    def will_stop(self, record: ContainerRecord, wanted: str = "") -> None:
        """Report the signal of a stop that this server is about to perform."""
        number = number_of(wanted) if wanted else self._stop_signal(record)
        self.killed.discard(record.id)
        self.stopping.setdefault(record.id, set()).add(number)
        self._journal.container("kill", record, signal=str(number))

    def will_kill(self, record: ContainerRecord, number: int) -> None:
        """Report the signal that this server is about to send; no stop event follows."""
        self.killed.add(record.id)
        self._journal.container("kill", record, signal=str(number))

    def _network_names(self) -> dict[str, tuple[str, str]]:
        records = [
            record
            for record in self._engine.networks()
            if record.spec.name not in (*PREDEFINED_NETWORKS, BUILD_NETWORK)
        ]
        return {record.id: (record.spec.name, record.spec.driver) for record in records}

    def _volume_names(self) -> dict[str, str]:
        return {record.spec.name: record.spec.driver for record in self._engine.volumes()}

    def _shared(self) -> None:
        before, self._networks = self._networks, self._network_names()
        for action, some, others in (("create", self._networks, before), ("destroy", before, self._networks)):
            for identity, (name, driver) in some.items():
                if identity not in others:
                    self._journal.add("network", action, identity, {"name": name, "type": driver})
        volumes, self._volumes = self._volumes, self._volume_names()
        for action, now, then in (("create", self._volumes, volumes), ("destroy", volumes, self._volumes)):
            for name, driver in now.items():
                if name not in then:
                    self._journal.add("volume", action, name, {"driver": driver})

    def look_shared(self) -> None:
        """Observe networks and volumes now, after an operation of this server on them."""
        self._shared()
