"""Fixed addresses that move from one container to another."""

from composer.plan import rejoining
from composer.plan.desired import DesiredService
from composer.plan.observed import Snapshot
from composer.plan.operations import Plan, Rejoin, Start, Stop
from engine.spec.container import Attachment, ContainerSpec
from engine.spec.state import ContainerRecord, ContainerState, Endpoint, Status


def planned(changes, *, starts=(), stops=()):
    """Service → services that it waits for; `changes` is service → (old address, new address)."""
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
        else:
            plan.add(Rejoin, name, "changed", container_id=name, service=service)
    rejoining.order(plan, Snapshot(project="p", containers=records, networks={}, volumes={}))
    names = {one.id: one.name for one in plan.operations}
    return {one.name: {names[before] for before in one.after} for one in plan.operations}


def test_who_gives_up_an_address_goes_first():
    assert planned({"a": ("1", "2"), "b": ("2", "3"), "c": ("3", "")}) == {"a": {"b"}, "b": {"c"}, "c": set()}
    assert planned({"a": ("", "2"), "b": ("2", "")}, starts=("a",)) == {"a": {"b"}, "b": set()}


def test_who_keeps_its_address_is_not_waited_for():
    assert planned({"a": ("1", "2"), "b": ("2", "2")}) == {"a": set(), "b": set()}


def test_an_exchange_is_no_circle():
    found = planned({"a": ("1", "2"), "b": ("2", "1")})
    assert found == {"a": {"b"}, "b": set()}


def test_a_stopped_container_gives_up_its_address():
    assert planned({"a": ("1", "2"), "b": ("2", "")}, stops=("b",)) == {"a": {"b"}, "b": set()}
