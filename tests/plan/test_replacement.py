"""The remains of an interrupted replacement are planned like any other observed state."""

import msgspec
import pytest

from composer.plan.operations import Create, Plan, Remove, Rename
from composer.plan.options import Options
from composer.plan.reconcile import reconcile
from composer.plan.replacement import leftovers, temporary_name
from engine.spec.network import NetworkRecord
from engine.spec.state import Status
from tests.plan.world import World, desired_of

TREE = {"services": {"web": {"command": ["run"]}}}
CHANGED = {"services": {"web": {"command": ["run", "faster"]}}}


@pytest.fixture
def world():
    world, desired = World(), desired_of(TREE)
    for network in desired.networks.values():
        world.networks[network.spec.name] = NetworkRecord(id=network.spec.name, spec=network.spec)
    world.add(desired, "web", 1, "demo-web-1", status=Status.RUNNING)
    return world


def up(world, desired):
    return reconcile(desired, world.snapshot(desired), Options(action="up"))


@pytest.mark.parametrize("count", range(6))
def test_interrupted_replacement_converges(world, count):
    desired = desired_of(CHANGED)
    world.carry_out(up(world, desired), desired, count)
    world.carry_out(up(world, desired), desired)
    assert [record.spec.name for record in world.containers] == ["demo-web-1"]
    assert world.containers[0].spec.command == ("run", "faster")
    assert str(up(world, desired)) == ""


@pytest.mark.parametrize("action", ["start", "restart"])
def test_container_takes_the_name_of_its_removed_predecessor(world, action):
    desired = desired_of(CHANGED)
    world.carry_out(up(world, desired), desired, 3)
    assert [record.spec.name for record in world.containers] == [temporary_name("000000000001", "demo-web-1")]
    world.carry_out(reconcile(desired, world.snapshot(desired), Options(action=action)), desired)
    assert world.named("demo-web-1").state.status is Status.RUNNING


def test_down_removes_both(world):
    desired = desired_of(CHANGED)
    world.carry_out(up(world, desired), desired, 1)
    assert len(world.containers) == 2
    world.carry_out(reconcile(desired, world.snapshot(desired), Options(action="down")), desired)
    assert world.containers == []


def test_each_operation_is_one_step(world):
    desired = desired_of(CHANGED)
    kinds = [operation.kind for operation in up(world, desired).operations]
    assert kinds == [f"{verb} container" for verb in ("create", "stop", "remove", "rename", "start")]


def test_started_replacement_is_kept(world):
    desired = desired_of(TREE)
    name = temporary_name("f" * 64, "demo-web-2")
    world.add(desired, "web", 2, name, status=Status.RUNNING, started_at=1.0)
    plan = Plan()
    snapshot, settled = leftovers(plan, world.snapshot(desired))
    assert (plan.operations, settled) == ([], ())
    assert {record.spec.name for record in snapshot.containers} == {"demo-web-1", name}


def test_unfinished_replacement_is_removed(world):
    desired = desired_of(CHANGED)
    world.carry_out(up(world, desired), desired, 1)
    plan = Plan()
    leftovers(plan, world.snapshot(desired))
    (operation,) = plan.operations
    assert isinstance(operation, Remove) and operation.volumes
    world.carry_out(plan, desired)
    again = up(world, desired).operations
    assert isinstance(again[0], Create) and isinstance(again[3], Rename)


@pytest.mark.parametrize("action", ["up", "start", "restart"])
def test_old_container_whose_removal_failed_is_removed(world, action):
    """The new one has its anonymous volumes, and is kept."""
    desired = desired_of(CHANGED)
    world.carry_out(up(world, desired), desired, 2)
    old, new = world.containers
    world.replace(old, status=Status.REMOVING, anonymous_volumes=())
    plan = reconcile(desired, world.snapshot(desired), Options(action=action))
    first, second = plan.operations[:2]
    assert isinstance(first, Remove) and (first.container_id, first.volumes) == (old.id, True)
    assert isinstance(second, Rename) and (second.container_id, second.after) == (new.id, (first.id,))
    world.carry_out(plan, desired)
    assert world.named("demo-web-1").id == new.id


def test_foreign_container_with_the_name_is_kept(world):
    desired = desired_of(CHANGED)
    world.carry_out(up(world, desired), desired, 1)
    old = world.named("demo-web-1")
    world.containers[world.containers.index(old)] = msgspec.structs.replace(old, id="e" * 64)
    plan = Plan()
    leftovers(plan, world.snapshot(desired))
    assert plan.operations == []
