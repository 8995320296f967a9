"""An engine's `Changes` in memory, and a loop whose clock advances when it is idle."""

import asyncio
import contextlib
import itertools
import time

import msgspec
from anyio import create_task_group

from engine.errors import Conflict, EngineError, NotFound
from engine.spec.container import ContainerSpec
from engine.spec.image import ImageConfig, ImageRecord
from engine.spec.state import ContainerExit, ContainerRecord, ContainerState, Health, Probe, Status


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeping takes no real time: when all tasks wait for timers, the clock jumps to the next one."""

    def __init__(self):
        super().__init__()
        self._now = 1000.0
        select = self._selector.select

        def jump(timeout=None):
            ready = select(0)
            if not ready and timeout is None:
                raise AssertionError("everybody waits for ever")
            if not ready and timeout:
                self._now += timeout
            return ready

        self._selector.select = jump

    def time(self):
        return self._now


def run(main, *args):
    """asyncio.run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(*args))


@contextlib.asynccontextmanager
async def task_group():
    """A task group whose tasks are cancelled at its end."""
    async with create_task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()


def now():
    return asyncio.get_running_loop().time()


class FakeChanges:
    """Containers are dictionary entries. `log` records operations; `failing` makes some fail: (operation, name) →
    error; `probes` are results of health checks: name → iterable of exit codes (the last one repeats)."""

    def __init__(self):
        self.records = {}
        self.log = []
        self.failing = {}
        self.probes = {}
        self.hooks = []
        self.ends = asyncio.Queue()
        self.stop_takes = {}
        self._number = itertools.count(1)

    def _do(self, operation, name):
        self.log.append(f"{operation} {name}")
        if error := self.failing.get((operation, name)):
            raise error

    def _set(self, container_id, **fields):
        record = self.record(container_id)
        state = msgspec.structs.replace(record.state, **fields)
        self.records[container_id] = msgspec.structs.replace(record, state=state)
        return self.records[container_id]

    def end(self, container_id, code):
        """The container's process exits by itself."""
        self._set(container_id, status=Status.EXITED, exit_code=code, finished_at=now())
        self.ends.put_nowait((container_id, ContainerExit(exit_code=code, finished_at=now())))

    def named(self, name):
        return next(record for record in self.records.values() if record.spec.name == name)

    def record(self, container_id):
        try:
            return self.records[container_id]
        except KeyError:
            raise NotFound("container", container_id) from None

    def containers(self):
        return list(self.records.values())

    def left_out(self, spec):
        return []

    def afford_start(self):
        pass

    async def create(self, spec: ContainerSpec, *, anonymous_volumes=()):
        self._do("create", spec.name)
        await asyncio.sleep(0)
        if any(record.spec.name == spec.name for record in self.records.values()):
            raise Conflict(f'the container name "{spec.name}" is already in use')
        container_id = f"{next(self._number):012x}".ljust(64, "0")
        state = ContainerState(created_at=now(), anonymous_volumes=tuple(anonymous_volumes))
        self.records[container_id] = ContainerRecord(id=container_id, group="p", spec=spec, state=state)
        return self.records[container_id]

    async def start(self, container_id, *, ready=None):
        name = self.record(container_id).spec.name
        self._do("start", name)
        await asyncio.sleep(0.01)
        if ready is not None:
            await ready()
        self.log.append(f"started {name}")
        checked = self.record(container_id).spec.healthcheck
        health = Health(status="starting") if checked else None
        return self._set(
            container_id, status=Status.RUNNING, started_at=now(), stopped_by_user=False, health=health, exit_code=0
        )

    async def stop(self, container_id, *, timeout=None, signal=""):
        record = self.record(container_id)
        if not record.state.status.alive:
            return None
        self._do("stop", record.spec.name)
        await asyncio.sleep(self.stop_takes.get(record.spec.name, 0.01))
        self.end(container_id, 137 if signal else 143)
        self.log.append(f"stopped {record.spec.name}")
        return ContainerExit(exit_code=143, finished_at=now())

    async def signal(self, container_id, signal):
        self._do(f"signal {signal}", self.record(container_id).spec.name)

    async def pause(self, container_id):
        self._set(container_id, status=Status.PAUSED)

    async def unpause(self, container_id):
        self._set(container_id, status=Status.RUNNING)

    async def remove(self, container_id, *, force=False, volumes=False):
        self._do("remove", self.record(container_id).spec.name)
        del self.records[container_id]

    async def rename(self, container_id, name):
        record = self.record(container_id)
        self._do("rename", f"{record.spec.name} {name}")
        self.records[container_id] = msgspec.structs.replace(
            record, spec=msgspec.structs.replace(record.spec, name=name)
        )

    async def update(self, container_id, state):
        self.records[container_id] = msgspec.structs.replace(self.record(container_id), state=state)

    async def set_health(self, container_id, health):
        self._set(container_id, health=health)

    async def probe(self, container_id, test, *, timeout):
        name = self.record(container_id).spec.name
        answers = self.probes.setdefault(name, [0])
        code = answers.pop(0) if len(answers) > 1 else answers[0]
        return Probe(start=time.time(), end=time.time(), exit_code=code, output=f"probe {code}\n")

    async def exec(self, container_id, spec, *, output, errors):
        self.log.append(f"exec {self.record(container_id).spec.name}: {' '.join(spec.args)}")
        return 1 if "fail" in spec.args else 0

    async def create_network(self, spec):
        self._do("create network", spec.name)

    async def remove_network(self, name):
        self._do("remove network", name)

    async def create_volume(self, spec):
        self._do("create volume", spec.name)

    async def remove_volume(self, name):
        self._do("remove volume", name)

    async def exits(self):
        while True:
            yield await self.ends.get()


def image(reference):
    return ImageRecord(id=f"sha256:{reference}", config=ImageConfig())


class Refused(EngineError):
    pass
