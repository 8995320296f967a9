"""A group opened for changes: implements composer's `Changes`. Each operation has its own file."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from anyio import Event, create_memory_object_stream, to_thread
from anyio.abc import TaskGroup

from engine.container import apparmor
from engine.filetree.remove import remove as remove_tree
from engine.keeper.client import KeeperClient
from engine.keeper.launch import Launch
from engine.net import bridge, host_changes
from engine.net.creation import Creations
from engine.net.removal import Removals
from engine.paths import Roots
from engine.session import (
    adopt,
    build_folders,
    create,
    exits,
    group_store,
    membership,
    name_files,
    remove,
    start,
    stop,
    users,
)
from engine.session.build_network import BuildNetwork
from engine.session.group import Group
from engine.session.host_resolvers import HostResolvers
from engine.session.keeper_link import KeeperLink
from engine.spec.container import Attachment, ContainerSpec, ExecSpec, Membership, Resources, Restart
from engine.spec.network import NetworkRecord, NetworkSpec, VolumeRecord, VolumeSpec
from engine.spec.state import ContainerExit, ContainerRecord, ContainerState, Health, Probe
from engine.volume import store as volumes


class Session:
    """See composer.run.port.Changes for each operation. Background work runs as tasks of `tasks`, which continue until
    `close`."""

    def __init__(
        self, roots: Roots, name: str, tasks: TaskGroup, supervisor: Sequence[str] = (), launch: Launch | None = None
    ) -> None:
        self.roots, self.group = roots, name
        self._group = Group(roots, name)
        self._group.wiring.moved = self._moved
        self._creations, self._removals = Creations(self._group.store), Removals(self._group.store)
        self._group.link = KeeperLink(roots, name, supervisor, launch, self._watch)
        text = functools.partial(name_files.resolv_conf, self._group)
        self._group.resolvers = HostResolvers(text, self._group.running, self._group.run_folder)
        self._supervised = bool(supervisor)
        self._tasks = tasks
        self._report, self._exits = create_memory_object_stream[tuple[str, ContainerExit]](math.inf)

    async def _moved(self, container_id: str, network: str) -> None:
        await membership.move(self._group, container_id, network)

    def _watch(self, client: KeeperClient) -> None:
        self._tasks.start_soon(exits.watch, self._group, client, self._tasks, self._ended)

    def _ended(self, container_id: str, how: ContainerExit) -> None:
        self._report.send_nowait((container_id, how))

    @property
    def records(self) -> dict[str, ContainerRecord]:
        """The containers by their ids."""
        return self._group.records

    @property
    def ended(self) -> dict[str, Event]:
        """Ids of running containers → set when they end."""
        return self._group.ended

    def folder(self, container_id: str) -> str:
        return self._group.folder(container_id)

    def record(self, container_id: str) -> ContainerRecord:
        return self._group.record(container_id)

    def containers(self) -> list[ContainerRecord]:
        return self._group.containers()

    # ── networks and volumes ─────────────────────────────────────────────────────────────────────────────────────

    async def create_network(self, spec: NetworkSpec) -> NetworkRecord:
        before = bridge.get(self._group.store, spec.name)
        endpoints = [end for one in self._group.containers() if one.state.status.alive for end in one.state.endpoints]
        lost = before is not None and bool(host_changes.missing_parts([before], endpoints))
        record = await self._creations.create(spec)
        if lost:
            await membership.restore(self._group, record)
        if before is not None:
            await self._group.wiring.check()
        return record

    async def remove_network(self, name: str) -> None:
        await self._group.cleaned()  # containers that have just exited still hold their addresses
        record = bridge.get(self._group.store, name)
        await self._removals.remove(name)
        if record is not None:
            self._group.wiring.forget(record.id)

    async def create_volume(self, spec: VolumeSpec) -> VolumeRecord:
        return volumes.create(self._group.store, spec)

    async def remove_volume(self, name: str) -> None:
        volumes.remove(self._group.store, name, users.volume_users(self._group.roots, name))

    # ── containers ───────────────────────────────────────────────────────────────────────────────────────────────

    def left_out(self, spec: ContainerSpec) -> list[str]:
        return [
            f"the limit {name} is not enforced: an ordinary user needs a cgroup that systemd delegates for it"
            for name in self._group.cgroups.left_out(spec.resources)
        ] + ([] if apparmor.chosen_profile(spec) or spec.privileged else self._group.apparmor.warnings())

    async def create(self, spec: ContainerSpec, *, anonymous_volumes: Sequence[str] = ()) -> ContainerRecord:
        return await create.create(self._group, spec, anonymous_volumes)

    async def start(self, container_id: str, *, ready: Callable[[], Awaitable[None]] | None = None) -> ContainerRecord:
        return await start.start(self._group, container_id, ready)

    async def signal(self, container_id: str, signal: int | str) -> None:
        await stop.signal(self._group, container_id, signal)

    async def stop(self, container_id: str, *, timeout: float | None = None, signal: str = "") -> ContainerExit | None:
        return await stop.stop(self._group, container_id, timeout, signal)

    def afford_start(self) -> None:
        stop.afford_start(self._group)

    async def pause(self, container_id: str) -> None:
        stop.pause(self._group, container_id)

    async def unpause(self, container_id: str) -> None:
        stop.unpause(self._group, container_id)

    async def remove(self, container_id: str, *, force: bool = False, volumes: bool = False) -> None:
        await remove.remove(self._group, container_id, force=force, with_volumes=volumes)

    async def rename(self, container_id: str, name: str) -> None:
        record = self.record(container_id)
        group_store.rename(self._group.store, container_id, name)
        spec = msgspec.structs.replace(record.spec, name=name)
        self._group.records[container_id] = msgspec.structs.replace(record, spec=spec)
        if record.state.status.alive:
            self._group.publish(container_id)

    async def limit(
        self, container_id: str, resources: Resources, restart: Restart, host_config: Mapping[str, Any]
    ) -> ContainerRecord:
        from engine.session import limits  # late, as `probe`: the first start of a project waits for every import

        return limits.change(self._group, container_id, resources, restart, host_config)

    async def connect(self, container_id: str, attachment: Attachment) -> ContainerRecord:
        return await membership.connect(self._group, container_id, attachment)

    async def disconnect(self, container_id: str, network: str) -> ContainerRecord:
        return await membership.disconnect(self._group, container_id, network)

    async def rejoin(self, changes: Sequence[Membership]) -> list[ContainerRecord]:
        return await membership.rejoin(self._group, changes)

    async def update(self, container_id: str, state: ContainerState) -> None:
        self._group.replace(container_id, state)

    async def set_health(self, container_id: str, health: Health) -> None:
        self._group.change(container_id, health=health)

    async def probe(self, container_id: str, test: Sequence[str], *, timeout: float) -> Probe:
        from engine.session import probe

        return await probe.probe(self._group, container_id, test, timeout)

    async def exec(
        self, container_id: str, spec: ExecSpec, *, output: Callable[[bytes], None], errors: Callable[[bytes], None]
    ) -> int:
        from engine.session import probe

        return await probe.execute(self._group, container_id, spec, output, errors)

    async def exits(self) -> AsyncIterator[tuple[str, ContainerExit]]:
        while True:
            yield await self._exits.receive()

    async def hold(self, wanted: bool) -> None:
        await self._group.link.hold(wanted)

    async def adopt(self, *, clean: bool = False) -> list[ContainerRecord]:
        async with self._group.takeover:
            found = await adopt.take_over(self._group, clean=clean)
        if self._group.link.is_launching:
            self._tasks.start_soon(self._group.link.await_launch)
        self._group.store.reserve_log()
        return found

    async def close(self) -> None:
        group = self._group
        group.closing = True
        await group.cleaned()
        if await group.link.close(dismiss=not group.alive):
            group.cgroups.sweep(group.name, ())
            if not self._supervised:  # a supervisor removes its own directory at the end, because its lock is in it
                with contextlib.suppress(OSError):
                    remove_tree(f"{group.roots.run}/{group.name}")
        if not group.alive and build_folders.exist(group.roots):
            await to_thread.run_sync(_sweep_builds, group)
        if not group.alive:
            await to_thread.run_sync(group.cgroups.sweep_abandoned)
        with contextlib.suppress(OSError):
            os.rmdir(f"{group.roots.groups}/{group.name}")  # when it is empty
        group.close()


def _sweep_builds(group: Group) -> None:
    """Remove the remains of killed builds now, because there may never be another build."""
    network = BuildNetwork(group.roots)
    build_folders.sweep_apart(group.roots, group.cgroups, network.forget)
    network.close()
