"""Plans are executed in order, concurrently, and as far as possible after failures."""

import asyncio

import msgspec
import pytest
from anyio import move_on_after

from composer.plan import labels
from composer.plan.desired import COMPLETED, HEALTHY, Dependency, Desired, DesiredNetwork, DesiredService, Hook
from composer.plan.observed import Snapshot
from composer.plan.options import Options
from composer.plan.reconcile import reconcile
from composer.run.executor import STEADY, Executor, OperationContext
from composer.run.monitor import Monitor
from composer.run.notifier import Notifier
from engine.spec.container import Attachment, ContainerSpec, Healthcheck, Mount
from engine.spec.network import NetworkSpec
from engine.spec.state import Status
from tests.run.fake import FakeChanges, Refused, image, now, run, task_group


def service(name, *dependencies, **fields):
    own = {key: fields.pop(key) for key in list(fields) if key in ContainerSpec.__struct_fields__}
    depends_on = tuple(Dependency(service=d) if isinstance(d, str) else d for d in dependencies)
    container = ContainerSpec(name="", image="", **own)
    return DesiredService(name=name, hash="h", image="busybox", container=container, depends_on=depends_on, **fields)


class Project:
    """Some services, and what happens when they are brought up."""

    def __init__(self, *services, networks=()):
        self.changes, self.notifier = FakeChanges(), Notifier()
        self.desired = Desired(
            project="p",
            services={one.name: one for one in services},
            order=tuple(one.name for one in services),
            known=tuple(one.name for one in services),
            networks={name: DesiredNetwork(spec=NetworkSpec(name=f"p_{name}")) for name in networks},
        )
        self.steps = []
        self.failures = []
        self.logs = {}

    async def act(self, action, *, parallel=-1, during=None, **options):
        snapshot = Snapshot(
            project="p", containers=self.changes.containers(), networks={}, volumes={}, images={"busybox": "sha256:b"}
        )
        plan = reconcile(self.desired, snapshot, Options(action=action, **options))
        self.changes.ends = asyncio.Queue()
        async with task_group() as tasks:
            monitor = Monitor(self.changes, image, self.notifier, tasks, lambda: None)

            async def ends():
                async for container_id, _ in self.changes.exits():
                    await monitor.ended(container_id)

            tasks.start_soon(ends)
            context = OperationContext(
                changes=self.changes,
                monitor=monitor,
                notifier=self.notifier,
                desired=self.desired,
                snapshot=snapshot,
                logs=None,
                watch=None,
                folder=lambda container_id: "/nonexistent",
                tail=lambda container_id, count: self.logs.get(self.changes.record(container_id).spec.name, []),
                send=self.steps.append,
            )
            executor = Executor(context, plan, parallel=parallel)
            if during:
                tasks.start_soon(during)
            await executor.run()
        self.failures = executor.failures

    def up(self, **options):
        run(lambda: self.act("up", **options))
        return self.changes.log

    def messages(self):
        return [failure.message for failure in self.failures]


def test_containers_get_names_numbers_labels_and_the_image():
    project = Project(service("web", scale=2))
    project.up()
    two = project.changes.named("p-web-2").spec
    assert two.image == "sha256:b"
    assert two.labels[labels.NUMBER] == "2"
    assert two.labels[labels.SERVICE] == "web"
    assert two.labels[labels.HASH] == "h"
    assert two.labels[labels.ONEOFF] == "False"


def test_independent_containers_start_side_by_side():
    project = Project(*(service(name) for name in "abc"))
    log = project.up()
    assert [line for line in log if line.startswith("start")] == [
        "start p-a-1", "start p-b-1", "start p-c-1", "started p-a-1", "started p-b-1", "started p-c-1",
    ]  # fmt: skip


def test_parallelism_is_limited():
    project = Project(*(service(name) for name in "abc"))
    log = project.up(parallel=1)
    assert [line for line in log if line.startswith("start")] == [
        "start p-a-1", "started p-a-1", "start p-b-1", "started p-b-1", "start p-c-1", "started p-c-1",
    ]  # fmt: skip


def test_operations_follow_dependencies():
    log = Project(service("a"), service("b", "a")).up()
    assert log.index("started p-a-1") < log.index("start p-b-1")


def test_networks_come_first():
    network = Attachment(network="p_front")
    log = Project(service("a", networks=(network,)), networks=("front",)).up()
    assert log[0] == "create network p_front"


def test_a_failure_stops_what_needs_it_and_nothing_else():
    project = Project(service("a"), service("b", "a"), service("c"))
    project.changes.failing["start", "p-a-1"] = Refused("the port 80 is in use", hint="Free it.")
    log = project.up()
    assert "started p-c-1" in log
    assert "start p-b-1" not in log
    assert project.messages() == ["service a: cannot start container p-a-1: the port 80 is in use\nFree it."]
    states = {(step.name, step.state) for step in project.steps if step.kind == "start container"}
    assert {("p-a-1", "failed"), ("p-b-1", "skipped"), ("p-c-1", "done")} <= states


def test_a_gate_of_health():
    check = Healthcheck(test=("CMD", "x"), interval=1.0)
    project = Project(service("a", healthcheck=check), service("b", Dependency(service="a", condition=HEALTHY)))
    project.changes.probes["p-a-1"] = [1, 1, 0]
    log = project.up()
    assert log.index("started p-a-1") < log.index("start p-b-1")


def test_an_unhealthy_gate_explains_itself():
    check = Healthcheck(test=("CMD-SHELL", "ask db"), interval=1.0, retries=2)
    project = Project(service("a", healthcheck=check), service("b", Dependency(service="a", condition=HEALTHY)))
    project.changes.probes["p-a-1"] = [3]
    project.logs["p-a-1"] = ["out of cheese"]
    project.up()
    assert project.messages() == [
        "dependency failed to start: container p-a-1 is unhealthy\n"
        "  healthcheck: CMD-SHELL ask db\n"
        "  exit code 3, 2 times in a row; the last output:\n"
        "    probe 3\n"
        "  the last lines of p-a-1:\n"
        "    out of cheese"
    ]


def test_an_optional_gate_only_warns():
    check = Healthcheck(test=("CMD", "x"), interval=1.0, retries=1)
    dependency = Dependency(service="a", condition=HEALTHY, required=False)
    project = Project(service("a", healthcheck=check), service("b", dependency))
    project.changes.probes["p-a-1"] = [3]
    assert "started p-b-1" in project.up()
    assert project.messages() == []


@pytest.mark.parametrize("code", [0, 4])
def test_a_gate_of_completion(code):
    project = Project(service("job"), service("b", Dependency(service="job", condition=COMPLETED)))

    async def during():
        while not project.changes.records or not project.changes.named("p-job-1").state.started_at:
            await asyncio.sleep(0.001)
        await asyncio.sleep(3)
        assert "start p-b-1" not in project.changes.log
        project.changes.end(project.changes.named("p-job-1").id, code)

    run(lambda: project.act("up", during=during))
    if code:
        assert project.messages() == ['service "job" didn\'t complete successfully: exit 4']
    else:
        assert project.changes.log[-1] == "started p-b-1"


def test_a_gate_whose_container_ends():
    check = Healthcheck(test=("CMD", "x"), interval=1.0)
    project = Project(service("a", healthcheck=check), service("b", Dependency(service="a", condition=HEALTHY)))
    project.changes.probes["p-a-1"] = [1]

    async def during():
        await asyncio.sleep(0.5)
        project.changes.end(project.changes.named("p-a-1").id, 9)

    run(lambda: project.act("up", during=during))
    assert project.messages()[0].startswith("dependency failed to start: container p-a-1 exited (9)")


def test_an_unhealthy_dependency_is_reported_at_once():
    check = Healthcheck(test=("CMD", "x"), interval=1.0, retries=1)
    project = Project(service("a", healthcheck=check), service("b", Dependency(service="a", condition=HEALTHY)))
    project.changes.probes["p-a-1"] = [3]
    reported = []

    async def main():
        clock = asyncio.get_running_loop().time
        began = clock()
        await project.act("up")
        reported.append(clock() - began)

    run(main)
    assert "unhealthy" in project.messages()[0]
    assert 1 <= reported[0] < 1 + STEADY


@pytest.mark.parametrize("code", [None, 1])
def test_a_gate_without_a_healthcheck_names_an_early_end_first(code):
    project = Project(service("a"), service("b", Dependency(service="a", condition=HEALTHY)))

    async def during():
        while not project.changes.records or not project.changes.named("p-a-1").state.started_at:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.2)
        if code is not None:
            project.changes.end(project.changes.named("p-a-1").id, code)

    run(lambda: project.act("up", during=during))
    reason = "has no healthcheck configured" if code is None else "exited (1)"
    assert project.messages()[0] == f"dependency failed to start: container p-a-1 {reason}"


def test_a_wait_for_a_container_that_ends():
    """It is nobody's dependency."""
    project = Project(service("a", healthcheck=Healthcheck(test=("CMD", "x"), interval=1000.0)))
    project.changes.probes["p-a-1"] = [1]

    async def during():
        await asyncio.sleep(0.5)
        project.changes.end(project.changes.named("p-a-1").id, 3)

    run(lambda: project.act("up", during=during, wait=True))
    assert project.messages()[0].startswith("container p-a-1 exited (3)")


def test_a_wait_with_a_time_limit():
    check = Healthcheck(test=("CMD", "x"), interval=1000.0)
    project = Project(service("a", healthcheck=check))
    project.changes.probes["p-a-1"] = [1]

    async def main():
        began = now()
        await project.act("up", wait=True, wait_timeout=7.0)
        assert 7 <= now() - began < 8

    run(main)
    assert project.messages() == ["application not healthy after 7s: container p-a-1 is starting"]


def test_recreation():
    project = Project(service("a"))
    project.up()
    old = project.changes.named("p-a-1").id
    project.changes.log.clear()
    project.up(force_recreate=True)
    assert project.changes.log == [
        f"create {old[:12]}_p-a-1",
        "stop p-a-1",
        "stopped p-a-1",
        "remove p-a-1",
        f"rename {old[:12]}_p-a-1 p-a-1",
        "start p-a-1",
        "started p-a-1",
    ]
    assert [record.spec.name for record in project.changes.containers()] == ["p-a-1"]


def test_recreation_keeps_anonymous_volumes_by_default():
    project = Project(service("a", mounts=(Mount(type="volume", target="/data"),)))
    project.up()
    first = project.changes.named("p-a-1")

    def with_volume(record):
        """As the engine does: the anonymous volume has a name once the container is created."""
        import msgspec

        replace = msgspec.structs.replace
        spec = replace(record.spec, mounts=(Mount(type="volume", target="/data", source="v1"),))
        state = replace(record.state, anonymous_volumes=("v1",))
        project.changes.records[record.id] = replace(record, spec=spec, state=state)

    with_volume(first)
    project.up(force_recreate=True)
    second = project.changes.named("p-a-1")
    assert second.id != first.id
    assert second.spec.mounts == (Mount(type="volume", target="/data", source="v1"),)
    assert second.state.anonymous_volumes == ("v1",)
    project.up(force_recreate=True, renew_anon_volumes=True)
    assert project.changes.named("p-a-1").spec.mounts == (Mount(type="volume", target="/data"),)


def test_modes_name_the_container_of_the_service():
    joining = service("b", network_mode="service:a", volumes_from=("service:a:ro",))
    project = Project(service("a"), joining)
    project.up()
    a, b = project.changes.named("p-a-1"), project.changes.named("p-b-1").spec
    assert b.network_mode == f"container:{a.id}"
    assert b.volumes_from == (f"container:{a.id}:ro",)


def test_hooks():
    hooks = {"post_start": (Hook(command=("hello",)),), "pre_stop": (Hook(command=("bye",)),)}
    project = Project(service("a", **hooks))
    project.up()
    run(lambda: project.act("down"))
    assert project.changes.log[1:] == [
        "start p-a-1", "started p-a-1", "exec p-a-1: hello", "exec p-a-1: bye", "stop p-a-1", "stopped p-a-1",
        "remove p-a-1",
    ]  # fmt: skip


def test_a_failing_hook():
    project = Project(service("a", post_start=(Hook(command=("fail",)),)), service("b", "a"))
    assert "start p-b-1" not in project.up()
    assert project.messages() == ["service a: cannot start container p-a-1: a hook exited with status 1"]


def test_a_replacement_that_was_interrupted_takes_its_name_and_is_waited_for():
    check = Healthcheck(test=("CMD", "x"), interval=1.0)
    project = Project(service("a", healthcheck=check), service("b", Dependency(service="a", condition=HEALTHY)))
    project.up()
    old = project.changes.named("p-a-1")

    async def interrupted():
        await project.changes.remove(old.id)
        await project.changes.remove(project.changes.named("p-b-1").id)
        await project.changes.create(msgspec.structs.replace(old.spec, name=f"{old.id[:12]}_p-a-1"))

    run(interrupted)
    project.up()
    assert not project.messages()
    assert project.changes.named("p-b-1").state.status is Status.RUNNING


def test_down_stops_dependants_first():
    project = Project(service("a"), service("b", "a"))
    project.up()
    project.changes.log.clear()
    run(lambda: project.act("down"))
    log = project.changes.log
    assert log.index("stopped p-b-1") < log.index("stop p-a-1")
    assert project.changes.containers() == []


def test_cancelled_executor_finishes_begun_operations():
    project = Project(service("a"), service("b", "a"))

    async def main():
        with move_on_after(0.005):
            await project.act("up")

    run(main)
    assert project.changes.named("p-a-1").state.status is Status.RUNNING
    assert "start p-b-1" not in project.changes.log


def test_cancelled_executor_ends_despite_a_swallowed_cancellation():
    project = Project(service("a"))
    project.up()
    swallowed = []

    async def stop(container_id, **_):
        for _ in range(3):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                swallowed.append(now())
        await asyncio.sleep(1000)

    project.changes.stop = stop

    async def main():
        began = now()
        with move_on_after(1):
            await project.act("stop")
        return now() - began

    assert run(main) == pytest.approx(1, abs=0.1)
    assert len(swallowed) == 3


def test_a_missing_image_is_named():
    project = Project(DesiredService(name="a", hash="h", image="nope", container=ContainerSpec(name="", image="")))
    project.up()
    assert project.messages()[0].startswith("service a: cannot create container p-a-1: no such image: nope")


def test_kill_with_a_signal():
    project = Project(service("a"))
    project.up()
    run(lambda: project.act("kill", signal="HUP"))
    assert project.changes.log[-1] == "signal HUP p-a-1"
    run(lambda: project.act("kill"))
    assert project.changes.named("p-a-1").state.stopped_by_user
