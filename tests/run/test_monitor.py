"""Health and restarts of containers that run and exit."""

import asyncio

import pytest

from composer.run.monitor import AUTOREMOVE, Monitor
from composer.run.notifier import Notifier
from engine.spec.container import ContainerSpec, Healthcheck, Restart
from engine.spec.state import Status
from tests.run.fake import FakeChanges, Refused, image, now, run, task_group


class Scene:
    def __init__(self, tasks):
        self.changes, self.notifier, self.idle = FakeChanges(), Notifier(), 0
        self.monitor = Monitor(self.changes, image, self.notifier, tasks, self._idle)
        tasks.start_soon(self._ends)

    def _idle(self):
        self.idle += 1

    async def _ends(self):
        async for container_id, _ in self.changes.exits():
            await self.monitor.ended(container_id)

    async def container(self, name="p-web-1", **fields):
        record = await self.changes.create(ContainerSpec(name=name, image="sha256:i", **fields))
        await self.changes.start(record.id)
        self.monitor.started(record.id)
        return record.id

    def status(self, container_id):
        return self.changes.record(container_id).state.status


@pytest.fixture
def play():
    """Run a test's coroutine with a scene, in virtual time."""

    def play(main):
        async def scene():
            async with task_group() as tasks:
                await main(Scene(tasks))

        run(scene)

    return play


def test_restarts_with_growing_pauses(play):
    async def main(scene):
        one = await scene.container(restart=Restart(policy="always"))
        starts = []
        for _ in range(3):
            scene.changes.end(one, 1)
            began = now()
            await asyncio.sleep(0.001)
            assert scene.status(one) is Status.RESTARTING
            assert scene.monitor.busy
            while scene.status(one) is not Status.RUNNING:
                await asyncio.sleep(0.001)
            starts.append(round(now() - began, 1))
        assert starts == [0.1, 0.2, 0.4]
        assert scene.changes.record(one).state.restart_count == 3

    play(main)


def test_on_failure_stops_after_max_retries(play):
    async def main(scene):
        one = await scene.container(restart=Restart(policy="on-failure", max_retries=1))
        scene.changes.end(one, 2)
        await asyncio.sleep(1)
        assert scene.status(one) is Status.RUNNING
        scene.changes.end(one, 2)
        await asyncio.sleep(1)
        assert scene.status(one) is Status.EXITED
        assert scene.idle
        assert not scene.monitor.busy

    play(main)


def test_a_restart_that_fails_counts_as_an_end(play):
    async def main(scene):
        one = await scene.container(restart=Restart(policy="on-failure", max_retries=2))
        scene.changes.failing["start", "p-web-1"] = Refused("no")
        scene.changes.end(one, 2)
        await asyncio.sleep(5)
        assert scene.changes.log.count("start p-web-1") == 3
        assert scene.status(one) is Status.EXITED

    play(main)


def test_a_container_stopped_by_the_user_stays_down(play):
    async def main(scene):
        one = await scene.container(restart=Restart(policy="always"))
        await scene.monitor.suppress_restart(one)
        await scene.changes.stop(one)
        await asyncio.sleep(5)
        assert scene.status(one) is Status.EXITED

    play(main)


def test_a_stop_between_two_restarts(play):
    async def main(scene):
        one = await scene.container(restart=Restart(policy="always"))
        scene.changes.end(one, 1)
        await asyncio.sleep(0.01)
        assert scene.status(one) is Status.RESTARTING
        await scene.monitor.suppress_restart(one)
        assert scene.status(one) is Status.EXITED
        await asyncio.sleep(5)
        assert scene.status(one) is Status.EXITED
        assert not scene.monitor.busy

    play(main)


def test_probing_ends_with_the_container_and_begins_with_its_restart(play):
    async def main(scene):
        check = Healthcheck(test=("CMD", "x"), interval=1.0, retries=1)
        one = await scene.container(healthcheck=check, restart=Restart(policy="always"))
        scene.changes.probes["p-web-1"] = [0, 1]
        await asyncio.sleep(0.05)
        assert scene.changes.record(one).state.health.status == "healthy"
        await asyncio.sleep(1.1)
        assert scene.changes.record(one).state.health.status == "unhealthy"
        scene.changes.end(one, 1)
        scene.changes.probes["p-web-1"] = [0]
        await asyncio.sleep(0.5)
        assert scene.changes.record(one).state.health.status == "healthy"

    play(main)


def test_fault_in_one_container_does_not_affect_others(play):
    async def main(scene):
        check = Healthcheck(test=("CMD", "x"), interval=1.0, retries=1)
        scene.changes.probes["p-bad-1"] = [0]
        real = scene.changes.probe

        async def probe(container_id, test, *, timeout):
            if scene.changes.record(container_id).spec.name == "p-bad-1":
                raise ValueError("a defect")
            return await real(container_id, test, timeout=timeout)

        scene.changes.probe = probe
        await scene.container("p-bad-1", healthcheck=check)
        one = await scene.container(healthcheck=check)
        scene.changes.probes["p-web-1"] = [0]
        await asyncio.sleep(0.05)
        assert scene.changes.record(one).state.health.status == "healthy"

    play(main)


def test_a_paused_container_is_not_probed(play):
    async def main(scene):
        one = await scene.container(healthcheck=Healthcheck(test=("CMD", "x"), interval=1.0, retries=1))
        await asyncio.sleep(0.5)
        await scene.changes.pause(one)
        scene.changes.probes["p-web-1"] = [1]
        await asyncio.sleep(5)
        assert scene.changes.record(one).state.health.status == "healthy"
        await scene.changes.unpause(one)
        await asyncio.sleep(2)
        assert scene.changes.record(one).state.health.status == "unhealthy"

    play(main)


def test_a_container_that_removes_itself(play):
    async def main(scene):
        await scene.container(labels={AUTOREMOVE: "true"})
        scene.changes.end(scene.changes.named("p-web-1").id, 0)
        await asyncio.sleep(0.1)
        assert scene.changes.containers() == []
        assert scene.idle == 1

    play(main)


def test_adopting_one_that_should_have_removed_itself(play):
    async def main(scene):
        one = await scene.changes.create(ContainerSpec(name="p-web-1", image="i", labels={AUTOREMOVE: "true"}))
        scene.changes._set(one.id, status=Status.EXITED)
        await scene.monitor.adopt(scene.changes.containers())
        assert scene.changes.containers() == []

    play(main)


def test_adopting(play):
    async def main(scene):
        changes = scene.changes
        for name, policy in (("alive", "no"), ("ended", "always"), ("stopped", "always"), ("over", "no")):
            record = await changes.create(ContainerSpec(name=name, image="i", restart=Restart(policy=policy)))
            await changes.start(record.id)
            if name != "alive":
                changes._set(record.id, status=Status.EXITED, stopped_by_user=name == "stopped", exit_code=1)
        await scene.monitor.adopt(changes.containers())
        assert scene.monitor.busy
        await asyncio.sleep(1)
        running = {record.spec.name for record in changes.containers() if record.state.status is Status.RUNNING}
        assert running == {"alive", "ended"}

    play(main)
