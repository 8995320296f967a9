"""Fixed addresses that move from one container to another."""

from composer.plan import rejoining
from composer.plan.desired import DesiredService
from composer.plan.observed import Snapshot
from composer.plan.operations import Plan, Rejoin, Start, Stop
from engine.spec.container import Attachment, ContainerSpec
from engine.spec.state import ContainerRecord, ContainerState, Endpoint, Status


def planned(changes, **kinds):
    """Service → services that it waits for; `changes` is service → (old address, new address)."""
    plan = ordered(changes, **kinds)
    names = {one.id: one.name for one in plan.operations}
    return {one.name: {names[before] for before in one.after} for one in plan.operations}


def ordered(changes, *, starts=(), stops=(), recreated=()):
    plan, records = Plan(), []
    for name, (before, wanted) in changes.items():
        spec = ContainerSpec(name=name, image="i", networks=(Attachment(network="n", ipv4_address=wanted),))
        service = DesiredService(name=name, image="i", hash="", container=spec)
        if name in starts:
            plan.add(Start, name, "it is new", service=service)
            continue
        state = ContainerState(status=Status.RUNNING, endpoints=(Endpoint(network="n", ipv4_address=before),))
        records.append(ContainerRecord(id=name, group="g", spec=spec, state=state))
        if name in stops:
            plan.add(Stop, name, "it is an orphan", container_id=name)
        elif name in recreated:
            stop = plan.add(Stop, f"{name} (old)", "changed", container_id=name)
            plan.add(Start, name, "it was recreated", service=service, after=(stop.id,))
        else:
            plan.add(Rejoin, name, "changed", container_id=name, service=service)
    rejoining.order(plan, Snapshot(project="p", containers=records, networks={}, volumes={}))
    return plan


def test_container_that_gives_up_an_address_changes_first():
    assert planned({"a": ("1", "2"), "b": ("2", "3"), "c": ("3", "")}) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert planned({"a": ("", "2"), "b": ("2", "")}, starts=("a",)) == {"a": {"b"}, "b": set()}


def test_kept_address_is_not_waited_for():
    assert planned({"a": ("1", "2"), "b": ("2", "2")}) == {"a": set(), "b": set()}


def test_containers_that_exchange_addresses_change_together():
    changes = {"a": ("1", "2"), "b": ("2", "1")}
    assert planned(changes) == {"a": set(), "b": {"a"}}
    first, second = ordered(changes).operations
    assert [name for name, _ in first.together] == ["b"] and second.together == ()


def test_a_circle_waits_for_the_others_addresses_as_one():
    changes = {"a": ("1", "2"), "b": ("2", "3"), "c": ("3", "1"), "d": ("4", ""), "e": ("5", "6"), "f": ("6", "5")}
    assert planned(changes) == {"a": set(), "b": {"a"}, "c": {"a"}, "d": set(), "e": set(), "f": {"e"}}
    together = {one.name: [name for name, _ in one.together] for one in ordered(changes).operations}
    assert together["a"] == ["b", "c"] and together["e"] == ["f"] and together["d"] == []


def test_recreated_containers_can_exchange_addresses():
    found = planned({"a": ("1", "2"), "b": ("2", "1")}, recreated=("a", "b"))
    assert found["a"] == found["b"] == {"a (old)", "b (old)"}
    found = planned({"a": ("1", "2"), "b": ("2", "1")}, recreated=("b",))
    assert found == {"a": {"b (old)"}, "b (old)": set(), "b": {"b (old)", "a"}}


def test_a_stopped_container_gives_up_its_address():
    assert planned({"a": ("1", "2"), "b": ("2", "")}, stops=("b",)) == {"a": {"b"}, "b": set()}
