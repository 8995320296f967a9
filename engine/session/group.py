"""One group's containers as its session knows them, and the state that operations on them share."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Sequence

import msgspec
from anyio import Event, Lock, Semaphore, sleep

from engine.cgroup.manager import Cgroups
from engine.container import apparmor
from engine.container import state as files
from engine.errors import NotFound, OperationFailed, WrongState
from engine.filetree.remove import remove as remove_tree
from engine.image.images import ImageStore
from engine.keeper.client import KeeperClient
from engine.net import endpoint
from engine.net.dns import Server
from engine.net.names import Names
from engine.net.neighbours import Neighbours
from engine.net.overlay.discovery import Discovery
from engine.net.wiring import Wiring
from engine.paths import Roots
from engine.session import group_store, users
from engine.session.host_resolvers import HostResolvers
from engine.session.keeper_link import KeeperLink
from engine.session.retained_fds import RetainedFds
from engine.spec.image import ImageRecord
from engine.spec.state import ContainerRecord, ContainerState
from engine.store import Store

CGROUP_PATIENCE = 30.0
"""Seconds after which the cgroup of an ended container is left to the next `adopt`: a process in it cannot be killed (D)."""
_CREATED_AT_ONCE = 8
"""Limit of containers that are created concurrently: without it, the first would start only after the last is on
disk."""


class Group:
    """`records` are written by the operations through `replace`. The session sets `link` and `resolvers`."""

    link: KeeperLink
    resolvers: HostResolvers

    def __init__(self, roots: Roots, name: str) -> None:
        self.roots, self.name = roots, name
        self.store = Store(roots)
        self.images = ImageStore(self.store)
        self.cgroups = Cgroups.of(roots)
        self.apparmor = apparmor.Default(roots)
        self.names = Names(Neighbours(self.store, name))
        discovery = Discovery(self.names)
        self.wiring = Wiring(self.store, enforced=True, discovery=discovery)
        self.dns = Server(self.names, discovery)
        self.records: dict[str, ContainerRecord] = {}
        self.creating: set[str] = set()
        """Ids of containers whose directories are being written."""
        self.creation = Semaphore(_CREATED_AT_ONCE)
        """Held while a container is created."""
        self.starting: set[str] = set()
        """Ids of containers that are being started: their resources in the kernel and the run root are not remains."""
        self.removing: set[str] = set()
        """Ids of containers that are being removed."""
        self.ended: dict[str, Event] = {}
        """Id → set when the container ends, while it runs."""
        self.retained: dict[str, RetainedFds] = {}
        self.takeover = Lock()
        """Held while the group is adopted."""
        self.adopted: KeeperClient | None = None
        """The keeper that has all containers since the last adoption; None when there was nothing for one to do."""
        self.ending: set[Event] = set()
        """One event for each exit that is being cleaned up, set when that is done."""
        self.closing = False
        self._image_cache: dict[str, ImageRecord] = {}

    def record(self, container_id: str) -> ContainerRecord:
        """Raises NotFound."""
        try:
            return self.records[container_id]
        except KeyError:
            raise NotFound("container", container_id[:12]) from None

    def containers(self) -> list[ContainerRecord]:
        """Oldest first."""
        return sorted(self.records.values(), key=lambda record: (record.state.created_at, record.spec.name))

    def running(self, container_id: str) -> ContainerRecord | None:
        """None for a container that does not run."""
        record = self.records.get(container_id)
        return record if record is not None and record.state.status.alive else None

    @property
    def alive(self) -> set[str]:
        """Ids of the containers that run."""
        return {record.id for record in self.records.values() if record.state.status.alive}

    def other(self, name: str) -> ContainerRecord:
        """A container by id or name, of whatever group, as it is now. Raises NotFound."""
        if name in self.records:
            return self.records[name]
        found = group_store.find(self.store, name)
        if found is None:
            raise NotFound("container", name)
        container_id, group = found
        record = self.records.get(container_id) or files.read(self.roots, group, container_id)
        if record is None:
            raise NotFound("container", name)
        return record

    def replace(self, container_id: str, state: ContainerState) -> ContainerRecord:
        """Write the state and remember it. Until the program is executed (`confirm`), the running state is in a
        separate file. If the disk accepts no more writes, the state is only remembered, so that running containers can
        still be stopped."""
        record = msgspec.structs.replace(self.record(container_id), state=state)
        if state.status.alive and container_id in self.starting:
            files.write_starting(self.folder(container_id), state)
        else:
            try:
                files.write_state(self.folder(container_id), state)
            except OperationFailed as error:
                if error.errno not in (errno.EROFS, errno.EIO):
                    raise
                print(f"container {record.spec.name}: {error}", file=sys.stderr, flush=True)
        self.records[container_id] = record
        return record

    def change(self, container_id: str, **fields: object) -> ContainerRecord:
        """Replace fields of the state."""
        return self.replace(container_id, msgspec.structs.replace(self.record(container_id).state, **fields))

    def changeable(self, container_id: str) -> ContainerRecord:
        """The record of a container whose specification may be changed. Raises NotFound, or WrongState while it starts
        or is removed."""
        record = self.record(container_id)
        if container_id in self.starting or container_id in self.removing:
            doing = "started" if container_id in self.starting else "removed"
            raise WrongState(f"container {record.spec.name} is being {doing}", hint="Try again when that has finished.")
        return record

    def confirm(self, container_id: str) -> None:
        """The container's program has been executed."""
        if self.record(container_id).state.status.alive:
            files.confirm_start(self.folder(container_id))
        else:
            files.drop_start(self.folder(container_id))  # it has exited already
        self.starting.discard(container_id)

    def folder(self, container_id: str) -> str:
        return self.roots.container(self.name, container_id)

    def run_folder(self, container_id: str) -> str:
        return self.roots.running(self.name, container_id)

    def image(self, reference: str) -> ImageRecord:
        """Raises NotFound."""
        if reference not in self._image_cache:
            self._image_cache[reference] = self.images.need(reference)
        return self._image_cache[reference]

    async def keeper(self) -> KeeperClient:
        """The keeper, started when there is none."""
        return await self.link.keeper()

    async def settled(self) -> None:
        """Wait while a killed keeper is being replaced and exited containers are cleaned up. Containers started
        meanwhile could be mistaken for remains, or fail to get the port of an exited container."""
        async with self.takeover:
            pass
        await self.cleaned()

    async def cleaned(self) -> None:
        """Wait until ended containers have been cleaned up."""
        for event in list(self.ending):
            await event.wait()

    def publish(self, container_id: str) -> None:
        """Publish the container's name to containers on the same networks."""
        record = self.record(container_id)
        names = [record.spec.name, container_id[:12]]
        if record.spec.hostname:
            names.append(record.spec.hostname)
        links = [*record.spec.links, *(link for one in record.spec.networks for link in one.links)]
        self.names.publish(
            container_id, names, endpoint.resolver_order(record.state.endpoints, record.spec.networks), links
        )

    def withdraw(self, container_id: str) -> None:
        """Release its names, its DNS sockets and its retained descriptors at once when it exits."""
        self.names.withdraw(container_id)
        self.dns.leave(container_id)
        self.resolvers.leave(container_id)
        self.release(container_id)

    async def clean(self, container_id: str) -> None:
        """Remove the resources of a running container: names, addresses, ports, rules, cgroups, its run directory."""
        self.withdraw(container_id)
        await self.wiring.disconnect(container_id)
        handle = self.cgroups.handle(self.name, container_id, self.record(container_id).spec.cgroup_parent)
        pause, waited = 0.0005, 0.0
        while not handle.remove() and waited < CGROUP_PATIENCE:
            handle.kill()
            await sleep(pause)  # cgroups have no event for "the last task has been freed" on v1
            waited, pause = waited + pause, min(pause * 1.5, 0.25)
        with contextlib.suppress(OSError):
            remove_tree(self.run_folder(container_id))
        users.unmount_unused(self.store, self.record(container_id))

    async def retain(self, record: ContainerRecord, keeper: KeeperClient, streams: Sequence[int] = ()) -> None:
        """Keep descriptors open that would be lost with the keeper; `streams` that are not given are requested from
        it."""
        if not streams:
            _, streams = await keeper.ask("terminal", id=record.id)
        self.release(record.id)
        self.retained[record.id] = RetainedFds(record.state.pid, streams)

    def release(self, container_id: str) -> None:
        if retained := self.retained.pop(container_id, None):
            retained.close()

    def close(self) -> None:
        for container_id in list(self.retained):
            self.release(container_id)
        self.dns.close()
        self.resolvers.close()
        self.wiring.close()
        self.store.close()
