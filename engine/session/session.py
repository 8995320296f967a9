"""A group opened for changes: what the operations share, and the object that implements composer's `Changes`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from engine.cgroup.manager import Cgroups
from engine.container import apparmor
from engine.container import state as files
from engine.errors import EngineError, KeeperLost, NotFound, OperationFailed, OtherVersion, WrongState
from engine.filetree.remove import remove as remove_tree
from engine.image.images import ImageStore
from engine.keeper.client import KeeperClient
from engine.keeper.launch import Launch
from engine.kernel import calls
from engine.net import bridge
from engine.net.dns import Server
from engine.net.names import Names
from engine.net.neighbours import Neighbours
from engine.net.wiring import Wiring
from engine.paths import Roots
from engine.session import adopt, create, group_store, probe, start, users
from engine.session.retained_fds import RetainedFds
from engine.spec.container import ContainerSpec, ExecSpec
from engine.spec.image import ImageRecord
from engine.spec.network import NetworkRecord, NetworkSpec, VolumeRecord, VolumeSpec
from engine.spec.state import ContainerExit, ContainerRecord, ContainerState, Health, Probe, Status
from engine.store import Store
from engine.volume import store as volumes

CGROUP_PATIENCE = 30.0
"""Seconds after which the cgroup of an ended container is left to the next `adopt`: a process in it cannot be killed (D)."""
DEFAULT_STOP_TIMEOUT = 10.0
"""Seconds between the stop signal and SIGKILL, as Docker's."""
REPAIR_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between attempts to put another keeper in the place of one that was killed."""


class Session:
    """See composer.run.port.Changes for what each operation promises."""

    def __init__(self, roots: Roots, group: str, supervisor: Sequence[str], launch: Launch | None = None) -> None:
        self.roots, self.group, self.supervisor = roots, group, tuple(supervisor)
        self.store = Store(roots)
        self.images = ImageStore(self.store)
        self.cgroups = Cgroups.of(roots)
        self.apparmor = apparmor.Default(roots)
        self.wiring = Wiring(self.store, enforced=True)
        self.names = Names(Neighbours(self.store, group))
        self.dns = Server(self.names)
        self.records: dict[str, ContainerRecord] = {}
        self.creating: set[str] = set()
        """Ids whose folders are just being written."""
        self.starting: set[str] = set()
        """Ids that are just being started: what they have in the kernel and the run root is no remains of anything."""
        self.removing: set[str] = set()
        """Ids that are just being removed."""
        self.ended: dict[str, asyncio.Event] = {}
        self._launch = launch
        self.retained: dict[str, RetainedFds] = {}
        self._keeper: KeeperClient | None = None
        self._keeper_lock = asyncio.Lock()
        self._repair = asyncio.Lock()
        self._adopted: KeeperClient | None = None
        self._image_cache: dict[str, ImageRecord] = {}
        self._exits: asyncio.Queue[tuple[str, ContainerExit]] = asyncio.Queue()
        self._watcher: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closing = False

    # ── shared by the operations ─────────────────────────────────────────────────────────────────────────────────

    def record(self, container_id: str) -> ContainerRecord:
        try:
            return self.records[container_id]
        except KeyError:
            raise NotFound("container", container_id[:12]) from None

    def containers(self) -> list[ContainerRecord]:
        return sorted(self.records.values(), key=lambda record: (record.state.created_at, record.spec.name))

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
        """Write the state down and remember it. Until its program is executed (`confirm`), that a container runs stands in
        a file of its own."""
        record = msgspec.structs.replace(self.record(container_id), state=state)
        write = files.write_starting if state.status.alive and container_id in self.starting else files.write_state
        write(self.folder(container_id), state)
        self.records[container_id] = record
        return record

    def confirm(self, container_id: str) -> None:
        """The container's program has been executed."""
        if self.record(container_id).state.status.alive:
            files.confirm_start(self.folder(container_id))
        else:
            files.drop_start(self.folder(container_id))  # it has ended already
        self.starting.discard(container_id)

    def change(self, container_id: str, **fields: object) -> ContainerRecord:
        return self.replace(container_id, msgspec.structs.replace(self.record(container_id).state, **fields))

    def folder(self, container_id: str) -> str:
        return self.roots.container(self.group, container_id)

    def image(self, reference: str) -> ImageRecord:
        if reference not in self._image_cache:
            self._image_cache[reference] = self.images.need(reference)
        return self._image_cache[reference]

    @property
    def has_had_keeper(self) -> bool:
        return self._keeper is not None

    async def keeper(self) -> KeeperClient:
        """The keeper, started when there is none."""
        async with self._keeper_lock:
            if self._keeper is None or self._keeper.lost:
                client = KeeperClient.connect(self.roots, self.group) if self._launch is None else None
                if client is None:
                    self._launch = self._launch or Launch(self.roots, self.group)
                    client = await self._launched()
                if client is None:
                    raise KeeperLost(f"the keeper of {self.group} was killed while it started")
                await client.ask("watch")
                if self.supervisor:
                    environment = {**os.environ, **self.roots.environment()}
                    await client.ask("supervise", argv=list(self.supervisor), env=environment)
                self._keeper = client
                self._watcher = asyncio.ensure_future(self._watch(client))
            return self._keeper

    async def _launched(self) -> KeeperClient | None:
        """Wait for the keeper that is getting ready, if one is, and connect to it."""
        launch, self._launch = self._launch, None
        if launch is None:
            return None
        with launch:
            await asyncio.to_thread(launch.wait)
            return KeeperClient.connect(self.roots, self.group)

    async def _watch(self, client: KeeperClient) -> None:
        async for message in client.exits():
            # Side by side: what ends together is cleaned together.
            task = asyncio.ensure_future(self._ended(message["id"], msgspec.convert(message["exit"], ContainerExit)))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
        if not self._closing:
            await self._keeper_gone()

    async def _keeper_gone(self) -> None:
        """Somebody killed the keeper: start another, which adopts what lives; what died with it is an exit. A keeper that is
        killed while this goes on is replaced, too."""
        async with self._repair:
            for pause in REPAIR_PAUSES:
                if self._closing or (self._keeper and self._keeper is self._adopted and not self._keeper.lost):
                    return
                try:
                    found = await adopt.adopt(self)
                    self._adopted = self._keeper
                    break
                except EngineError as error:
                    print(f"adopt the containers of {self.group}: {error}", file=sys.stderr, flush=True)
                    await asyncio.sleep(pause)
            else:
                return
        for record in found:
            ended = files.read_exit(self.folder(record.id))
            if record.state.status is Status.EXITED and record.id in self.ended:
                self.ended.pop(record.id).set()
                self._exits.put_nowait((record.id, ended or ContainerExit(exit_code=255, finished_at=time.time())))

    async def settled(self) -> None:
        """Wait while a keeper that was killed is replaced, and what ended containers had is still taken away: what is started
        meanwhile would be taken for remains, or not get the port of one that has ended."""
        async with self._repair:
            pass
        if self._ending:
            await asyncio.wait(self._ending)

    async def _ended(self, container_id: str, ended: ContainerExit) -> None:
        if container_id not in self.records:
            return
        if ended.pid not in (0, self.record(container_id).state.pid):
            return  # of an earlier process, or of one whose program was never executed
        if self.records[container_id].state.status is Status.REMOVING:
            return  # one whose start has failed is removed while its process dies
        self._withdraw(container_id)
        state = files.exited(self.record(container_id).state, ended)
        self.records[container_id] = msgspec.structs.replace(self.record(container_id), state=state)
        if event := self.ended.pop(container_id, None):
            event.set()
        self._exits.put_nowait((container_id, ended))
        # Who waits for the end need not wait for the rest; who starts something does (`settled`).
        await asyncio.sleep(0)
        if (record := self.records.get(container_id)) and record.state is state:
            # No space left: who reads the old state sees that it has ended, too.
            with contextlib.suppress(OperationFailed):
                files.write_state(self.folder(container_id), state)
        with contextlib.suppress(EngineError):  # what could not be removed is found by the next `adopt`
            await self.clean(container_id)

    def _withdraw(self, container_id: str) -> None:
        self.names.withdraw(container_id)
        self.dns.leave(container_id)
        self.let_go(container_id)

    async def clean(self, container_id: str) -> None:
        """Take away what only a running container has: names, addresses, ports, rules, cgroups, its run folder."""
        self._withdraw(container_id)
        await self.wiring.disconnect(container_id)
        handle = self.cgroups.handle(self.group, container_id, self.record(container_id).spec.cgroup_parent)
        pause, waited = 0.0005, 0.0
        while not handle.remove() and waited < CGROUP_PATIENCE:
            handle.kill()
            await asyncio.sleep(pause)  # cgroups have no event for "the last task has been freed" on v1
            waited, pause = waited + pause, min(pause * 1.5, 0.25)
        with contextlib.suppress(OSError):
            remove_tree(self.roots.running(self.group, container_id))
        users.unmount_unused(self.store, self.record(container_id))

    async def hold(self, record: ContainerRecord, keeper: KeeperClient) -> None:
        """Keep open what would be lost with the keeper."""
        terminal: list[int] = []
        if record.spec.tty:
            _, terminal = await keeper.ask("terminal", id=record.id)
        self.let_go(record.id)
        self.retained[record.id] = RetainedFds(self.roots.running(self.group, record.id), record.state.pid, terminal)

    def let_go(self, container_id: str) -> None:
        if held := self.retained.pop(container_id, None):
            held.close()

    # ── networks and volumes ─────────────────────────────────────────────────────────────────────────────────────

    async def create_network(self, spec: NetworkSpec) -> NetworkRecord:
        existed = bridge.get(self.store, spec.name) is not None
        record = await bridge.create(self.store, spec)
        if existed:
            await self.wiring.check()
        return record

    async def remove_network(self, name: str) -> None:
        record = bridge.get(self.store, name)
        await bridge.remove(self.store, name)
        if record is not None:
            self.wiring.forget(record.id)

    async def create_volume(self, spec: VolumeSpec) -> VolumeRecord:
        return volumes.create(self.store, spec)

    async def remove_volume(self, name: str) -> None:
        volumes.remove(self.store, name, users.volume_users(self.roots, name))

    # ── containers ───────────────────────────────────────────────────────────────────────────────────────────────

    def left_out(self, spec: ContainerSpec) -> list[str]:
        return [
            f"the limit {name} is not enforced: an ordinary user needs a cgroup that systemd delegates for it"
            for name in self.cgroups.left_out(spec.resources)
        ] + ([] if apparmor.asked(spec) or spec.privileged else self.apparmor.warnings())

    async def create(self, spec: ContainerSpec, *, anonymous_volumes: Sequence[str] = ()) -> ContainerRecord:
        return await create.create(self, spec, anonymous_volumes)

    async def start(self, container_id: str, *, ready: Callable[[], Awaitable[None]] | None = None) -> ContainerRecord:
        return await start.start(self, container_id, ready)

    async def signal(self, container_id: str, signal: int | str) -> None:
        if isinstance(signal, str):
            from engine.session.signals import number

            signal = number(signal)
        record = self.record(container_id)
        if not record.state.status.can_kill:
            raise WrongState(f"container {record.spec.name} is not running")
        if not record.state.stopped_by_user and self._stops(record.spec, signal):
            with contextlib.suppress(OperationFailed):  # a full disc: it is remembered as long as we live
                record = self.change(container_id, stopped_by_user=True)
        await (await self.keeper()).ask("signal", id=container_id, signal=signal)
        if record.state.status is Status.PAUSED and signal == 9:
            await self.unpause(container_id)

    def _stops(self, spec: ContainerSpec, signal: int) -> bool:
        """Whether a signal is a stop for the restart policy: moby, daemon/kill.go (ExitOnNext, HasBeenManuallyStopped)."""
        from engine.session.signals import number

        own = spec.stop_signal or self.image(spec.image).config.stop_signal
        return signal == 9 or spec.restart.policy == "unless-stopped" or not own or number(own) == signal

    async def stop(self, container_id: str, *, timeout: float | None = None, signal: str = "") -> ContainerExit | None:
        record = self.record(container_id)
        if not record.state.status.alive:
            return None
        event = self.ended.setdefault(container_id, asyncio.Event())
        if record.state.status is Status.PAUSED:
            await self.unpause(container_id)
        wanted = signal or record.spec.stop_signal or self.image(record.spec.image).config.stop_signal or "SIGTERM"
        if timeout is None:
            timeout = DEFAULT_STOP_TIMEOUT if record.spec.stop_timeout is None else record.spec.stop_timeout
        try:
            await self._send(container_id, wanted)
            if timeout < 0:
                await event.wait()
            else:
                async with asyncio.timeout(timeout):
                    await event.wait()
        except TimeoutError:
            await self._kill(container_id)
            await event.wait()
        state = self.record(container_id).state
        return ContainerExit(exit_code=state.exit_code, finished_at=state.finished_at, oom_killed=state.oom_killed)

    async def _send(self, container_id: str, signal: int | str) -> None:
        """A signal by way of the keeper, or straight to the process while a keeper that was killed is replaced. Nothing
        happens when it has ended: its end is on the way to us."""
        from engine.session.signals import number

        wanted = number(signal) if isinstance(signal, str) else signal
        try:
            await self.signal(container_id, wanted)
        except EngineError:
            state = self.record(container_id).state
            with contextlib.suppress(EngineError, OSError):
                pidfd = calls.pidfd_open(state.pid)
                try:
                    if calls.start_time(state.pid) == state.pid_start:
                        calls.pidfd_send_signal(pidfd, wanted)
                finally:
                    os.close(pidfd)

    async def _kill(self, container_id: str) -> None:
        try:
            await self.signal(container_id, 9)
        except EngineError:
            self.cgroups.handle(self.group, container_id, self.record(container_id).spec.cgroup_parent).kill()

    async def pause(self, container_id: str) -> None:
        record = self.record(container_id)
        if record.state.status is Status.PAUSED:
            raise WrongState(f"container {record.spec.name} is already paused")
        if not record.state.status.can_pause:
            raise WrongState(f"container {record.spec.name} is not running")
        self.cgroups.handle(self.group, container_id, record.spec.cgroup_parent).freeze()
        self.change(container_id, status=Status.PAUSED)

    async def unpause(self, container_id: str) -> None:
        record = self.record(container_id)
        if record.state.status is not Status.PAUSED:
            raise WrongState(f"container {record.spec.name} is not paused")
        self.cgroups.handle(self.group, container_id, record.spec.cgroup_parent).thaw()
        self.change(container_id, status=Status.RUNNING)

    async def remove(self, container_id: str, *, force: bool = False, volumes: bool = False) -> None:
        record = self.record(container_id)
        if record.state.status.alive:
            if not force:
                raise WrongState(
                    f"container {record.spec.name} is {record.state.status.value}: stop it before removing it"
                )
            await self.stop(container_id, timeout=0, signal="SIGKILL")
        self.removing.add(container_id)
        try:
            await self._remove(record, record.state.anonymous_volumes if volumes else ())
        finally:
            self.removing.discard(container_id)

    async def _remove(self, record: ContainerRecord, anonymous: Sequence[str]) -> None:
        """A crash at any moment leaves a container that is being removed and still knows which volumes go with it, which
        `adopt` removes, or nothing."""
        container_id = record.id
        with contextlib.suppress(OperationFailed):  # a full disc: it goes all the same
            self.change(container_id, status=Status.REMOVING, anonymous_volumes=tuple(anonymous))
        await self.clean(container_id)
        for name in anonymous:
            with contextlib.suppress(EngineError):  # another container took it over
                others = [user for user in users.volume_users(self.roots, name) if user != container_id]
                volumes.remove(self.store, name, others)
        folder = self.folder(container_id)
        with contextlib.suppress(OSError):
            os.unlink(f"{folder}/spec.json")  # first: a folder without it is no container
        try:
            await asyncio.to_thread(remove_tree, folder)
        except OSError as error:
            raise OperationFailed.of("remove the files of", record.spec.name, error) from error
        group_store.release(self.store, container_id)
        self.records.pop(container_id, None)  # whoever took over meanwhile has not found it any more
        with contextlib.suppress(OSError):
            os.rmdir(f"{self.roots.groups}/{self.group}")

    async def rename(self, container_id: str, name: str) -> None:
        record = self.record(container_id)
        group_store.rename(self.store, container_id, name)
        self.records[container_id] = msgspec.structs.replace(
            record, spec=msgspec.structs.replace(record.spec, name=name)
        )
        if record.state.status.alive:
            self.publish(container_id)

    def publish(self, container_id: str) -> None:
        """Make the container known by name to those that share a network with it."""
        record = self.record(container_id)
        names = [record.spec.name, container_id[:12]]
        if record.spec.hostname:
            names.append(record.spec.hostname)
        self.names.publish(container_id, names, record.state.endpoints, record.spec.links)

    async def update(self, container_id: str, state: ContainerState) -> None:
        self.replace(container_id, state)

    async def set_health(self, container_id: str, health: Health) -> None:
        self.change(container_id, health=health)

    async def probe(self, container_id: str, test: Sequence[str], *, timeout: float) -> Probe:
        return await probe.probe(self, container_id, test, timeout)

    async def exec(self, container_id: str, spec: ExecSpec, *, stdout: int, stderr: int) -> int:
        return await probe.execute(self, container_id, spec, stdout, stderr)

    async def exits(self) -> AsyncIterator[tuple[str, ContainerExit]]:
        while True:
            yield await self._exits.get()

    async def adopt(self, *, clean: bool = False) -> list[ContainerRecord]:
        async with self._repair:
            for pause in REPAIR_PAUSES:
                try:
                    found = await adopt.adopt(self, clean=clean)
                    self._adopted = self._keeper
                    return found
                except KeeperLost:  # killed while it took over
                    clean = False
                    await asyncio.sleep(pause)
            return await adopt.adopt(self)

    async def close(self, *, keep_running: bool = True) -> None:
        self._closing = True
        if self._watcher:
            self._watcher.cancel()
        client = self._keeper
        with contextlib.suppress(EngineError):
            client = await self._launched() or client
        if self._ending:
            await asyncio.wait(self._ending)
        if client is None or client.lost:
            with contextlib.suppress(OtherVersion):
                client = KeeperClient.connect(self.roots, self.group)
        if client is not None and not client.lost:
            try:
                await client.ask("goodbye")
                if not any(record.state.status.alive for record in self.records.values()):
                    if await self._dismiss(client):
                        self.cgroups.sweep(self.group, ())
                        with contextlib.suppress(OSError):
                            remove_tree(f"{self.roots.run}/{self.group}")
            except EngineError:
                pass
            client.close()
        with contextlib.suppress(OSError):
            os.rmdir(f"{self.roots.groups}/{self.group}")  # when it is empty
        for container_id in list(self.retained):
            self.let_go(container_id)
        self.dns.close()
        self.wiring.close()
        self.store.close()

    @staticmethod
    async def _dismiss(client: KeeperClient) -> bool:
        """Send the keeper away. What was forked and never started ends with it; a process may take a moment to be reaped."""
        for _ in range(250):
            try:
                await client.ask("leave")
                return True
            except KeeperLost:
                return True
            except EngineError:
                answer, _ = await client.ask("list")
                for entry in answer["containers"]:
                    with contextlib.suppress(EngineError):
                        await client.ask("signal", id=entry["id"], signal=9)
                await asyncio.sleep(0.02)
        return False
