"""Properties of every plan, whatever the observed state."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from composer.plan.desired import COMPLETED, HEALTHY, STARTED
from composer.plan.labels import service_of
from composer.plan.operations import Start, Stop
from composer.plan.options import Options
from composer.plan.reconcile import reconcile
from engine.spec.state import Status
from tests.plan.world import World, desired_of, left_over

NAMES = [f"s{i}" for i in range(6)]
CHECK = {"test": ["CMD", "true"]}


@st.composite
def projects(draw):
    """Services that depend on those with smaller numbers in every way, networks, volumes, scales."""
    count = draw(st.integers(1, len(NAMES)))
    services = {}
    for i, name in enumerate(NAMES[:count]):
        service = {"command": draw(st.sampled_from([["a"], ["b"]])), "healthcheck": CHECK}
        needs = {}
        for other in NAMES[:i]:
            if draw(st.integers(0, 3)) == 0:
                condition = draw(st.sampled_from([STARTED, HEALTHY]))
                needs[other] = {"condition": condition, "restart": draw(st.booleans())}
        kind = draw(st.integers(0, 5))
        if i and kind == 0:
            service["network_mode"] = f"service:{NAMES[draw(st.integers(0, i - 1))]}"
        elif i and kind == 1:
            service["volumes_from"] = [NAMES[draw(st.integers(0, i - 1))]]
        elif kind == 2:
            service["networks"] = {"back": None}
        elif kind == 3:
            service["volumes"] = [{"type": "volume", "source": "data", "target": "/data"}]
        service["depends_on"] = needs
        service["scale"] = draw(st.sampled_from([1, 1, 2, 3])) if not needs and kind > 3 else 1
        services[name] = service
    return {
        "services": services,
        "networks": {"back": {"labels": {"a": draw(st.sampled_from("xy"))}}},
        "volumes": {"data": {}},
    }


@st.composite
def worlds(draw):
    """The remains of an earlier project, partly stopped, paused or removed."""
    world = World()
    if draw(st.booleans()):
        earlier = desired_of(draw(projects()))
        world.carry_out(up(world, earlier), earlier)
        for record in list(world.containers):
            fate = draw(st.sampled_from(["stay", "stay", "stop", "pause", "fail"]))
            if fate != "stay":
                status = Status.PAUSED if fate == "pause" else Status.EXITED
                world.replace(record, status=status, exit_code=1 if fate == "fail" else 0)
    return world


def up(world, desired, **options):
    return reconcile(desired, world.snapshot(desired), Options(action="up", **options))


quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(projects(), worlds())
def test_a_second_up_has_nothing_to_do(tree, world):
    desired = desired_of(tree)
    world.carry_out(up(world, desired, remove_orphans=True), desired)
    assert str(up(world, desired)) == ""
    running = {name: [r for r in world.containers if service_of(r) == name] for name in desired.services}
    assert {name: len(records) for name, records in running.items()} == {
        name: service.scale for name, service in desired.services.items()
    }
    assert all(r.state.status is Status.RUNNING for records in running.values() for r in records)


@quick
@given(projects(), worlds(), st.integers(0, 40))
def test_an_interrupted_up_is_finished_by_the_next(tree, world, count):
    desired = desired_of(tree)
    plan = up(world, desired, remove_orphans=True)
    world.carry_out(plan, desired, count)
    world.carry_out(up(world, desired, remove_orphans=True), desired)
    assert str(up(world, desired)) == ""


@quick
@given(projects(), worlds(), st.integers(0, 40))
def test_an_interrupted_down_is_finished_by_the_next(tree, world, count):
    desired = desired_of(tree)
    world.carry_out(up(world, desired), desired)
    options = Options(action="down", volumes=True, remove_orphans=True)
    world.carry_out(reconcile(desired, world.snapshot(desired), options), desired, count)
    world.carry_out(reconcile(desired, world.snapshot(desired), options), desired)
    assert left_over(world) == []


@quick
@given(projects(), worlds())
def test_down_removes_everything(tree, world):
    desired = desired_of(tree)
    world.carry_out(up(world, desired), desired)
    options = Options(action="down", volumes=True, remove_orphans=True)
    world.carry_out(reconcile(desired, world.snapshot(desired), options), desired)
    assert left_over(world) == []


@quick
@given(projects(), worlds())
def test_down_without_a_file_removes_everything(tree, world):
    desired = desired_of(tree)
    world.carry_out(up(world, desired), desired)
    world.carry_out(reconcile(None, world.snapshot(None), Options(action="down", volumes=True)), None)
    assert left_over(world) == []


@quick
@given(projects(), worlds())
def test_the_order_is_topological(tree, world):
    """No container starts before those that its service depends on have been started."""
    desired = desired_of(tree)
    plan = up(world, desired, remove_orphans=True)
    above = {}
    for operation in plan.operations:
        above[operation.id] = set(operation.after).union(*(above[i] for i in operation.after))
        assert all(i < operation.id for i in operation.after)
    begun = [op for op in plan.operations if isinstance(op, Start)]
    for operation in begun:
        service = desired.services[operation.service_name]
        for name in (*(d.service for d in service.depends_on), *service.linked):
            for other in begun:
                if other.service_name == name:
                    assert other.id in above[operation.id], f"{operation} does not wait for {other}"


@quick
@given(projects(), worlds(), st.sampled_from(["stop", "down"]))
def test_dependents_are_stopped_first(tree, world, action):
    desired = desired_of(tree)
    world.carry_out(up(world, desired, remove_orphans=True), desired)
    plan = reconcile(desired, world.snapshot(desired), Options(action=action))
    above = {}
    for operation in plan.operations:
        above[operation.id] = set(operation.after).union(*(above[i] for i in operation.after))
    stops = [operation for operation in plan.operations if isinstance(operation, Stop)]
    for operation in stops:
        for other in stops:
            if any(d.service == operation.service_name for d in desired.services[other.service_name].depends_on):
                assert other.id in above[operation.id], f"{operation} does not wait for {other}"


@quick
@given(projects(), worlds(), st.data())
def test_stop_and_start_come_back_to_where_they_were(tree, world, data):
    desired = desired_of(tree)
    world.carry_out(up(world, desired, remove_orphans=True), desired)
    for action in ("stop", "start"):
        world.carry_out(reconcile(desired, world.snapshot(desired), Options(action=action)), desired)
    assert str(up(world, desired)) == ""
    world.carry_out(reconcile(desired, world.snapshot(desired), Options(action="restart")), desired)
    assert str(up(world, desired)) == ""


@quick
@given(projects(), worlds())
def test_a_plan_is_the_same_each_time(tree, world):
    desired = desired_of(tree)
    assert str(up(world, desired)) == str(up(world, desired_of(dict(reversed(tree.items())))))


@quick
@given(projects(), st.sampled_from(NAMES))
def test_up_of_one_service_brings_what_it_needs_and_no_other(tree, name):
    desired = desired_of(tree)
    if name not in desired.services:
        return
    world = World()
    world.carry_out(up(world, desired, services=(name,)), desired)
    wanted, waiting = set(), [name]
    while waiting:
        one = desired.services[waiting.pop()]
        wanted.add(one.name)
        waiting += [other for other in (*(d.service for d in one.depends_on), *one.linked) if other not in wanted]
    assert {service_of(record) for record in world.containers} == {n for n in wanted if desired.services[n].scale}


def test_a_job_runs_again_and_is_waited_for():
    desired = desired_of({"services": {"job": {}, "web": {"depends_on": {"job": {"condition": COMPLETED}}}}})
    world = World(completing=["job"])
    world.carry_out(up(world, desired), desired)
    assert str(up(world, desired)) == (
        "start container demo-job-1: it is exited\nwait for container demo-job-1: web needs it completed\n"
    )
