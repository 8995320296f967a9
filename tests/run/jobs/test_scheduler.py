"""The scheduler with a disk and a simulated clock: overlap, retries, time limits, and crashes at every step."""

import datetime
import itertools

import pytest
from anyio import CancelScope, create_task_group, sleep
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from composer.plan import labels
from composer.plan.desired import Desired, DesiredJob, DesiredService, Schedule
from composer.run.jobs.journal import Journal
from composer.run.jobs.records import MANUAL, Definition, RunState
from composer.run.jobs.runner import suffix
from composer.run.jobs.scheduler import Scheduler
from engine.errors import NotFound, StartFailed, WrongState
from engine.paths import Roots
from engine.spec.container import ContainerSpec
from engine.spec.state import ContainerRecord, ContainerState, Status
from engine.spec.stream import LogEntry
from tests.run.fake import now as loop_time
from tests.run.fake import run

BEGIN = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC).timestamp()
MINUTE = 60.0


class Killed(BaseException):
    """kill -9 of the supervisor."""


class World:
    """The state that outlives a supervisor: the disk, the containers, the clock. `programs`: the outcome of each start
    in turn, as (seconds, exit code), the last one repeats; `ran` lists their (run id, attempt). `deaths`: the number of
    writes after which each supervisor dies."""

    def __init__(self, folder, programs=((1.0, 0),), deaths=()):
        self.roots = Roots(str(folder / "s"), str(folder / "r"))
        self.offset = BEGIN
        self.containers, self.ran, self.boot_id = {}, [], "first"
        self.programs = itertools.chain(programs, itertools.repeat(programs[-1]))
        self.deaths = list(deaths)
        self.refusals = []
        self.lives = 0

    def clock(self):
        return loop_time() + self.offset

    def settle(self):
        """Programs exit by themselves, observed or not."""
        for name, (record, end, code) in list(self.containers.items()):
            if record.state.status.alive and end <= loop_time():
                self.finish(name, code, at=end + self.offset)

    def finish(self, name, code, *, at=None):
        record, end, _ = self.containers[name]
        state = structs.replace(
            record.state, status=Status.EXITED, exit_code=code, finished_at=at or self.clock(), pid=0
        )
        self.containers[name] = (structs.replace(record, state=state), end, code)

    async def live(self, drive, until):
        """One supervisor after the other until the clock reaches `until`. `drive` is called with the first."""
        while loop_time() < until:
            self.lives += 1
            try:
                await self.one_life(drive, until)
            except BaseExceptionGroup as errors:
                if errors.split(Killed)[1] is not None:
                    raise
                await sleep(0.1)
            drive = None

    async def one_life(self, drive, until):
        async with create_task_group() as tasks:
            runner = Fake(self, tasks)
            journal = DyingJournal(self.roots, self.deaths.pop(0) if self.deaths else None)
            scheduler = Scheduler(journal, runner, tasks, lambda: None, clock=self.clock)
            runner.scheduler = scheduler
            scheduler.load()
            self.settle()
            for record, *_ in list(self.containers.values()):
                if not record.state.status.alive:
                    await scheduler.runs.ended(record)
                else:
                    runner.watch(record.spec.name)
            await scheduler.adopt()
            tasks.start_soon(scheduler.run)
            if drive is not None:
                await drive(scheduler)
            await sleep(max(0.0, until - loop_time()))
            tasks.cancel_scope.cancel()

    def runs(self, name="tick"):
        return Journal(self.roots, "p").progress(name).runs


class DyingJournal(Journal):
    """Its supervisor dies just after write number `left`, or just before it if `left` is negative."""

    def __init__(self, roots, left):
        super().__init__(roots, "p")
        self.left = left

    def _write(self, name, file, data):
        if self.left is not None:
            self.left += 1 if self.left < 0 else -1
            if self.left == 0:
                raise Killed
        super()._write(name, file, data)
        if self.left == 0:
            raise Killed


class Fake:
    """A runner whose containers are the world's."""

    def __init__(self, world, tasks):
        self.world, self.tasks, self.scheduler, self.held = world, tasks, None, False

    async def start(self, definition, run, scope):
        if self.world.refusals:
            raise self.world.refusals.pop(0)
        await sleep(0.01)  # its dependencies
        seconds, code = next(self.world.programs)
        name = f"job-{definition.name}{suffix(run)}"
        assert name not in self.world.containers
        self.world.ran.append((run.id, run.attempt, run.planned))
        spec = ContainerSpec(name=name, image="i", labels={labels.JOB_RUN: run.id})
        state = ContainerState(status=Status.RUNNING, started_at=self.world.clock(), pid=1, boot_id=self.world.boot_id)
        self.world.containers[name] = (
            ContainerRecord(id=name, group="p", spec=spec, state=state), loop_time() + seconds, code
        )  # fmt: skip
        await sleep(0.01)
        self.watch(name)
        return name

    def watch(self, name):
        self.tasks.start_soon(self._watch, name)

    async def _watch(self, name):
        await sleep(max(0.0, self.world.containers[name][1] - loop_time()))
        self.world.settle()
        if name in self.world.containers:
            await self.scheduler.runs.ended(self.world.containers[name][0])

    def container(self, run):
        found = [r for r, *_ in self.world.containers.values() if r.spec.labels[labels.JOB_RUN] == run.id]
        return next((record for record in found if record.spec.name.endswith(suffix(run))), None)

    async def stop(self, container_id):
        await sleep(0.1)
        if self.world.containers[container_id][0].state.status.alive:
            self.world.finish(container_id, 143)
            self.tasks.start_soon(self.scheduler.runs.ended, self.world.containers[container_id][0])

    async def remove(self, container_id):
        self.world.containers.pop(container_id, None)

    def log(self, container_id):
        return [LogEntry(1, "stdout", f"{container_id}\n")]

    def rebooted(self, record):
        return record.state.boot_id != self.world.boot_id

    async def hold(self, wanted):
        self.held = wanted


def definition(*schedules, **limits):
    service = DesiredService(name="tick", hash="h", image="i", container=ContainerSpec(name="", image="i"))
    wanted = tuple(Schedule(cron=one) if isinstance(one, str) else one for one in schedules)
    job = DesiredJob(service=service, schedules=wanted, **limits)
    return Definition(name="tick", digest="d", job=job, desired=Desired(project="p", services={"tick": service}))


def carried_out(world, wanted, until, also=None):
    async def drive(scheduler):
        await scheduler.register(wanted)
        if also is not None:
            await also(scheduler)

    async def main():
        world.offset = BEGIN - loop_time()
        await world.live(drive, loop_time() + until)

    run(main)
    return world


def states(world):
    return [(one.state.value, one.exit_code, one.attempt) for one in world.runs()]


def planned(world):
    return [round((one[2] - BEGIN) / MINUTE) for one in world.ran]


def test_each_fire_runs_once(tmp_path):
    world = carried_out(World(tmp_path), definition("* * * * *"), 3.5 * MINUTE)
    assert planned(world) == [1, 2, 3] and states(world) == [("succeeded", 0, 1)] * 3
    assert not world.containers
    progress = Journal(world.roots, "p")
    assert [entry.text for run in world.runs() for entry in progress.log("tick", run)] == [
        f"job-tick{suffix(run)}\n" for run in world.runs()
    ]


def test_a_fire_that_meets_a_run_is_dropped(tmp_path):
    world = carried_out(World(tmp_path, [(130.0, 0), (1.0, 0)]), definition("* * * * *"), 5.5 * MINUTE)
    assert planned(world) == [1, 4, 5]
    assert Journal(world.roots, "p").progress("tick").dropped == 2


def test_one_fire_waits_for_a_run(tmp_path):
    queue = Schedule(cron="* * * * *", concurrency="queue")
    world = carried_out(World(tmp_path, [(150.0, 0), (1.0, 0)]), definition(queue), 5.5 * MINUTE)
    assert planned(world) == [1, 2, 4, 5]


def test_retries_with_pauses_that_double(tmp_path):
    world = World(tmp_path, [(1.0, 3), (1.0, 4), (1.0, 0)])
    carried_out(world, definition("5 * * * *", retries=3, retry_delay=20.0), 10 * MINUTE)
    assert [attempt for _, attempt, _ in world.ran] == [1, 2, 3] and states(world) == [("succeeded", 0, 3)]
    (only,) = world.runs()
    assert 61 < only.finished - only.started < 65
    assert len(list(Journal(world.roots, "p").log("tick", only))) == 3


def test_a_run_that_fails_keeps_its_container_and_its_code(tmp_path):
    world = carried_out(World(tmp_path, [(1.0, 3)]), definition("5 * * * *"), 10 * MINUTE)
    assert states(world) == [("failed", 3, 1)] and len(world.containers) == 1


def test_history_is_bounded(tmp_path):
    world = carried_out(World(tmp_path, [(1.0, 3)]), definition("* * * * *", history=2), 9.5 * MINUTE)
    assert [one.iteration for one in world.runs()] == [7, 8, 9] and len(world.containers) == 3
    assert len(list((tmp_path / "s/jobs/p/tick.job").glob("*.log"))) == 3


def test_a_run_that_takes_too_long(tmp_path):
    world = carried_out(World(tmp_path, [(1e6, 0)]), definition("1 * * * *", timeout=30.0), 5 * MINUTE)
    assert states(world) == [("timed_out", 143, 1)] and world.runs()[0].command_code == 124


def test_a_run_that_cannot_be_started(tmp_path):
    world = World(tmp_path)
    world.refusals = [NotFound("image", "i"), StartFailed("no such file", exit_code=127)]
    carried_out(world, definition("1,2,3 * * * *"), 5 * MINUTE)
    assert [one.error for one in world.runs()] == ["no such image: i", "no such file", ""]
    assert [one.state.value for one in world.runs()] == ["failed", "failed", "succeeded"]


def test_cancel_stop_pause_and_resume(tmp_path):
    world = World(tmp_path, [(1e6, 0), (1.0, 0)])

    async def also(scheduler):
        run = scheduler.begin("tick")
        with pytest.raises(WrongState, match=r"job p\.tick is already running"):
            scheduler.begin("tick")
        await sleep(5)
        assert await scheduler.cancel("tick") == run.id
        assert await scheduler.cancel("tick") == ""
        await scheduler.pause("tick")
        assert not scheduler.busy and not scheduler._runner.held
        await sleep(100 * MINUTE)
        await scheduler.resume("tick")
        await scheduler.stop("tick")
        await sleep(100 * MINUTE)
        await scheduler.start("tick")
        assert scheduler.busy and scheduler._runner.held

    carried_out(world, definition("0 * * * *"), 250 * MINUTE, also)
    assert states(world) == [("cancelled", 143, 1), ("succeeded", 0, 1)] and planned(world)[1] == 240


def test_a_start_that_is_given_up(tmp_path):
    """While it waits for its dependencies."""
    world = World(tmp_path)

    async def also(scheduler):
        scheduler.begin("tick")
        await sleep(0.005)
        await scheduler.cancel("tick")

    carried_out(world, definition("0 * * * *"), 5 * MINUTE, also)
    assert [one.state for one in world.runs()] == [RunState.CANCELLED] and not world.ran


def test_a_changed_job_goes_on_where_its_schedule_is_the_same(tmp_path):
    async def also(scheduler):
        await sleep(30.5 * MINUTE)
        await scheduler.register(definition("0 * * * *", "45 * * * *", timeout=5.0))
        await scheduler.register(definition("45 * * * *"))
        await sleep(20 * MINUTE)
        await scheduler.remove("tick")
        assert not scheduler.busy
        with pytest.raises(NotFound):
            scheduler.begin("tick")

    world = carried_out(World(tmp_path), definition("0 * * * *"), 130 * MINUTE, also)
    assert planned(world) == [45] and len(world.runs()) == 1
    assert Journal(world.roots, "p").definition("tick") is None


def test_a_reboot(tmp_path):
    world = World(tmp_path, [(1e6, 0), (1.0, 0)], deaths=())

    async def main():
        world.offset = BEGIN - loop_time()

        async def drive(scheduler):
            await scheduler.register(definition("* * * * *"))
            await sleep(90)
            raise Killed

        await world.live(drive, loop_time() + 91)
        world.boot_id = "second"
        for name in list(world.containers):
            world.finish(name, 255)
        await sleep(600)  # the machine is off
        await world.live(None, loop_time() + 70)

    run(main)
    first, *others = world.runs()
    assert (first.state, first.error) == (RunState.FAILED, "the machine was restarted while it ran")
    assert {one.state for one in others} == {RunState.SUCCEEDED}
    assert planned(world)[:2] == [1, 11]


def test_suspend(tmp_path):
    """The loop's clock stops while the machine sleeps, but the time of day continues."""
    world = World(tmp_path)

    async def also(scheduler):
        await sleep(30)
        world.offset += 5 * 60 * MINUTE

    carried_out(world, definition("0 * * * *"), 10 * MINUTE, also)
    assert planned(world) == [300]


def test_a_run_by_hand_goes_with_its_command(tmp_path):
    """It is not restarted, and a command that repeats its request gets the same run."""
    world = World(tmp_path)
    wanted = definition()

    async def first(scheduler):
        await scheduler.accept(wanted, "a" * 32, CancelScope())
        raise Killed

    async def main():
        world.offset = BEGIN - loop_time()
        await world.live(first, loop_time() + 10)
        assert [(one.state, one.trigger) for one in world.runs()] == [(RunState.FAILED, MANUAL)]

        async def again(scheduler):
            record = await scheduler.accept(wanted, "a" * 32, CancelScope())
            assert record.state is RunState.PENDING and record.iteration == 1
            await scheduler._runner.start(wanted, record, CancelScope())
            scheduler.runs.began("tick", record.id)

        await world.live(again, loop_time() + 10)

    run(main)
    assert states(world) == [("succeeded", 0, 1)] and len(world.ran) == 1


def test_damaged_files_stop_no_other_job(tmp_path):
    """`up` registers the job again."""
    world = carried_out(World(tmp_path), definition("* * * * *"), 1.5 * MINUTE)
    folder = tmp_path / "s/jobs/p/tick.job"
    for name in ("definition.json", "progress.json"):
        (folder / name).write_text('{"name": 3')
    journal = Journal(world.roots, "p")
    assert journal.definition("tick") is None and not journal.progress("tick").runs
    assert journal.observed()["tick"].digest == ""
    carried_out(world, definition("* * * * *"), 1.5 * MINUTE)
    assert [one.state for one in world.runs()] == [RunState.SUCCEEDED]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-12, 12), max_size=8),
    st.lists(st.tuples(st.sampled_from([0.001, 0.5, 10.0]), st.sampled_from([0, 0, 3])), min_size=1, max_size=6),
    st.integers(0, 2),
)
def test_each_fire_runs_once_despite_crashes(tmp_path_factory, deaths, programs, retries):
    """Every supervisor dies just before or just after some write; the next one starts at once."""
    world = World(tmp_path_factory.mktemp("world"), programs, deaths)
    wanted = definition("* * * * *", retries=retries, retry_delay=0.5)

    async def drive(scheduler):
        await scheduler.register(wanted)

    async def main():
        world.offset = BEGIN - loop_time()
        until = loop_time() + 6.7 * MINUTE
        await world.live(drive, until)
        if Journal(world.roots, "p").definition("tick") is None:
            return  # it died before the registration, which `up` repeats
        starts = [(run_id, attempt) for run_id, attempt, _ in world.ran]
        assert len(starts) == len(set(starts)), "an attempt was started twice"
        once = [round((one.planned - BEGIN) / MINUTE) for one in world.runs()]
        assert once == sorted(set(once)) == [1, 2, 3, 4, 5, 6]
        assert all(one.state.final for one in world.runs())
        assert {run_id for run_id, *_ in world.ran} == {one.id for one in world.runs()}

    run(main)
