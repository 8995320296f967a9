"""Networks and volumes in plans: created if missing, recreated if changed, refused if they belong to another
project."""

import msgspec
import pytest

from composer.plan import labels
from composer.plan.desired import Desired, DesiredNetwork, DesiredService, DesiredVolume
from composer.plan.networks_and_volumes import SharedProblem
from composer.plan.observed import Snapshot
from composer.plan.options import Options
from composer.plan.reconcile import reconcile
from engine.spec.container import Attachment, ContainerSpec, Mount, PortBinding
from engine.spec.network import NetworkRecord, NetworkSpec, VolumeRecord, VolumeSpec
from engine.spec.state import ContainerRecord, ContainerState, Status

OURS = {labels.PROJECT: "p", labels.NETWORK: "n"}
NETWORK = NetworkSpec(name="p_n", labels=OURS)
VOLUME = VolumeSpec(name="p_v", labels={labels.PROJECT: "p", labels.VOLUME: "v"})


def service(name):
    container = ContainerSpec(
        name="",
        image="",
        networks=(Attachment(network="p_n"),),
        mounts=(Mount(type="volume", source="p_v", target="/v"),),
    )
    return DesiredService(name=name, hash="h", image="i", container=container)


def desired(network=NETWORK, volume=VOLUME, *, external=False):
    return Desired(
        project="p",
        services={name: service(name) for name in ("a", "b")},
        order=("a", "b"),
        known=("a", "b"),
        networks={"n": DesiredNetwork(spec=network, external=external)},
        volumes={"v": DesiredVolume(spec=volume)},
    )


def running(name):
    marks = {labels.SERVICE: name, labels.NUMBER: "1", labels.HASH: "h", labels.PROJECT: "p"}
    spec = msgspec.structs.replace(service(name).container, name=f"p-{name}-1", image="sha256:1", labels=marks)
    return ContainerRecord(id=name * 64, group="p", spec=spec, state=ContainerState(status=Status.RUNNING))


def plan(wanted, *, network=NETWORK, volume=VOLUME, services=(), **options):
    snapshot = Snapshot(
        project="p",
        containers=[running("a"), running("b")],
        networks={network.name: NetworkRecord(id="1", spec=network)} if network else {},
        volumes={volume.name: VolumeRecord(spec=volume, mountpoint="/x")} if volume else {},
        images={"i": "sha256:1"},
    )
    return reconcile(wanted, snapshot, Options(action="up", services=services, **options))


def test_unchanged_networks_need_no_operation():
    assert str(plan(desired())) == ""


def test_labels_of_composes_own_do_not_count():
    older = msgspec.structs.replace(NETWORK, labels={**OURS, labels.VERSION: "1"})
    assert str(plan(desired(), network=older)) == ""


def test_a_changed_network_is_recreated_and_all_its_containers_restart():
    changed = plan(desired(msgspec.structs.replace(NETWORK, internal=True)), services=("a",))
    assert str(changed) == (
        "stop container p-a-1: its network p_n is recreated\n"
        "stop container p-b-1: its network p_n is recreated\n"
        "remove network p_n: its internal changed\n"
        "create network p_n: its internal changed\n"
        "start container p-a-1: it was stopped for its network\n"
        "start container p-b-1: it was stopped for its network\n"
    )
    assert [operation.after for operation in changed.operations] == [(), (), (0, 1), (2,), (0, 3), (1, 3)]


def test_a_changed_volume_keeps_its_data():
    kept = plan(desired(volume=msgspec.structs.replace(VOLUME, driver_opts={"type": "tmpfs"})))
    assert str(kept) == ""
    assert "p_v" in kept.warnings[0] and "driver_opts" in kept.warnings[0]


def test_a_changed_volume_is_recreated_with_yes():
    changed = msgspec.structs.replace(VOLUME, driver_opts={"type": "tmpfs"})
    assert str(plan(desired(volume=changed), recreate_volumes=True)) == (
        "stop container p-a-1: its volume p_v is recreated\n"
        "remove container p-a-1: its volume p_v is recreated\n"
        "stop container p-b-1: its volume p_v is recreated\n"
        "remove container p-b-1: its volume p_v is recreated\n"
        "remove volume p_v: its driver_opts changed\n"
        "create volume p_v: its driver_opts changed\n"
        "create container p-a-1: no existing container\n"
        "start container p-a-1: it is new\n"
        "create container p-b-1: no existing container\n"
        "start container p-b-1: it is new\n"
    )


@pytest.mark.parametrize("labelled", [{}, {labels.PROJECT: "other", labels.NETWORK: "m"}])
def test_a_network_of_others_is_refused(labelled):
    with pytest.raises(SharedProblem, match="external: true"):
        plan(desired(), network=NetworkSpec(name="p_n", labels=labelled))


def test_a_network_that_another_project_calls_the_same_is_shared_with_a_warning():
    made = plan(desired(), network=NetworkSpec(name="p_n", labels={labels.PROJECT: "other", labels.NETWORK: "n"}))
    assert "external: true" in made.warnings[0]
    assert "create network" not in str(made)


def test_an_external_network_must_be_there():
    with pytest.raises(SharedProblem, match="network p_n declared as external, but could not be found"):
        plan(desired(external=True), network=None)
    assert str(plan(desired(external=True), network=NetworkSpec(name="p_n"))) == ""


def test_a_volume_of_others_is_reported():
    assert "was not created by composer" in plan(desired(), volume=VolumeSpec(name="p_v")).warnings[0]


@pytest.mark.parametrize("external", [False, True])
def test_ports_on_internal_networks_only_are_not_published(external):
    closed = msgspec.structs.replace(NETWORK, internal=True)
    wanted = desired(closed, external=external)
    ports = (PortBinding(container_port=80),)
    container = msgspec.structs.replace(wanted.services["a"].container, ports=ports)
    wanted.services["a"] = msgspec.structs.replace(wanted.services["a"], container=container)
    found = plan(wanted, network=closed)
    assert found.warnings == ["service a: no port is published, as all of its networks are internal"]
    assert not plan(desired(closed), network=closed).warnings


def forwarding(wanted, *state, changes=({}, {}, ())):
    snapshot = Snapshot(
        project="p",
        containers=[running("a"), running("b")],
        networks={"p_n": NetworkRecord(id="1", spec=wanted.networks["n"].spec)},
        volumes={"p_v": VolumeRecord(spec=VOLUME, mountpoint="/x")},
        images={"i": "sha256:1"},
        forwarding=state,
        host_changes=changes,
    )
    return reconcile(wanted, snapshot, Options(action="up"))


def test_forwarding_that_was_switched_off_is_repaired():
    assert [str(one.cause) for one in forwarding(desired(), False, "").operations] == ["forwarding was switched off"]
    assert not forwarding(desired(msgspec.structs.replace(NETWORK, internal=True)), False, "").operations


def test_a_chain_that_drops_is_named():
    (warning,) = forwarding(desired(), True, "inet admin fw").warnings
    assert "inet admin fw" in warning and "cmp-*" in warning


def test_removed_link_is_repaired():
    changes = ({"p_n": "its bridge is gone"}, {}, ())
    found = forwarding(desired(), True, "", changes=changes)
    assert [str(one) for one in found.operations] == ["create network p_n: its bridge is gone"]
    wanted = desired()
    wanted.networks["n"] = msgspec.structs.replace(wanted.networks["n"], external=True)
    found = forwarding(wanted, True, "", changes=changes)
    assert [str(one) for one in found.operations] == ["create network p_n: its bridge is gone"]


def test_a_route_that_leads_a_networks_addresses_elsewhere_is_named():
    found = forwarding(desired(), True, "", changes=({}, {"p_n": "172.17.0.0/16 of link docker0"}, ()))
    (warning,) = found.warnings
    assert "172.17.0.0/16 of link docker0" in warning and "networks.n.ipam.config" in warning
    assert not found.operations


def test_an_overlay_network_whose_hosts_changed_is_recreated():
    found = forwarding(desired(), True, "", changes=({}, {}, {"p_n"}))
    assert "create network p_n: its hosts in networks.toml changed" in map(str, found.operations)
