"""Why a container no longer matches its service, in words."""

import json

import msgspec
import pytest

from composer.plan import labels, recreation
from composer.plan.operations import CreateNetwork, CreateVolume
from engine.spec.container import Attachment, Mount
from engine.spec.state import Status
from tests.plan.world import World, desired_of, image_id

TREE = {
    "services": {
        "web": {
            "command": ["run"],
            "environment": {"A": "1", "B": "2", "C": "3", "D": "4", "PASSWORD": "x"},
            "volumes": [{"type": "volume", "source": "data", "target": "/data"}],
        }
    },
    "volumes": {"data": None},
}


def changed(**fields):
    return {**TREE, "services": {"web": {**TREE["services"]["web"], **fields}}}


@pytest.fixture
def world():
    desired = desired_of(TREE)
    world = World()
    for network in desired.networks.values():
        world._create_network(CreateNetwork(id=0, name=network.spec.name, cause="", network=network.spec), desired)
    for volume in desired.volumes.values():
        world._create_volume(CreateVolume(id=0, name=volume.spec.name, cause="", volume=volume.spec), desired)
    world.add(desired, "web", 1, "demo-web-1")
    return world


def reason(world, tree, **changes):
    desired = desired_of(tree)
    record = msgspec.structs.replace(world.containers[0], **changes)
    return recreation.reason(desired.services["web"], record, world.snapshot(desired))


def test_unchanged_container_is_kept(world):
    assert reason(world, TREE) == ""


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"command": ["walk"]}, "command: run → walk"),
        ({"command": None}, "command: run → nothing"),
        ({"user": "me"}, "user: nothing → me"),
        ({"ports": [{"target": 80}]}, "ports.0.target: nothing → 80"),
        ({"command": ["x" * 100]}, f"command: run → {'x' * 57}…"),
    ],
)
def test_cause_names_the_changes(world, fields, words):
    assert reason(world, changed(**fields)) == f"configuration changed ({words})"


def test_long_causes_are_shortened(world):
    words = reason(world, changed(environment={}))
    assert words == (
        "configuration changed (environment.A: 1 → nothing; environment.B: 2 → nothing; environment.C: 3 → nothing"
        " and 2 more)"
    )


def test_passwords_are_not_shown(world):
    environment = {**TREE["services"]["web"]["environment"], "PASSWORD": "y"}
    assert reason(world, changed(environment=environment)) == "configuration changed (environment.PASSWORD changed)"


@pytest.mark.parametrize("summary", [None, "", "{", "{}"])
def test_a_container_without_a_summary(world, summary):
    record = world.containers[0]
    given = {k: v for k, v in record.spec.labels.items() if k != labels.SUMMARY}
    if summary is not None:
        given[labels.SUMMARY] = summary
    spec = msgspec.structs.replace(record.spec, labels=given)
    assert reason(world, changed(user="me"), spec=spec) == "configuration changed"


def test_the_summary_is_what_the_label_says(world):
    service = desired_of(TREE).services["web"]
    assert json.loads(recreation.summary_text(service)) == service.summary


def test_changed_image_recreates(world):
    spec = msgspec.structs.replace(world.containers[0].spec, image=image_id("web:0"))
    assert reason(world, TREE, spec=spec).startswith("image web:1 is now ")


def test_changed_mounted_image_recreates(world):
    mount = {"type": "image", "source": "tools:1", "target": "/tools"}
    tree = changed(volumes=[mount])
    desired = desired_of(tree)
    record = world.add(desired, "web", 2, "demo-web-2")
    assert recreation.reason(desired.services["web"], record, world.snapshot(desired)) == ""
    old = Mount(type="image", source=image_id("tools:0"), target="/tools")
    record = msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, mounts=(old,)))
    assert recreation.reason(desired.services["web"], record, world.snapshot(desired)).startswith(
        "image tools:1 is now"
    )


def test_renamed_or_missing_networks_and_volumes(world):
    tree = {**TREE, "networks": {"default": {"name": "other"}}}
    assert reason(world, tree) == "networks: demo_default → other"
    assert reason(world, {**TREE, "volumes": {"data": {"name": "more"}}}) == "volume at /data: demo_data → more"
    del world.volumes["demo_data"]
    assert reason(world, TREE) == "its volume demo_data is gone"
    del world.networks["demo_default"]
    assert reason(world, TREE) == "its network demo_default is gone"


NAMED = {"aliases": ["db"], "ipv4_address": "10.1.0.9"}


@pytest.mark.parametrize(
    ("fields", "state", "rejoins"),
    [
        ({"networks": {"default": NAMED}}, {"status": Status.RUNNING}, True),
        ({"networks": {"default": None, "other": None}}, {"status": Status.RUNNING}, True),
        ({"networks": {"default": NAMED}}, {"status": Status.EXITED}, False),
        ({"networks": {"default": NAMED}}, {"status": Status.PAUSED}, False),
        ({"networks": {"default": NAMED}}, {"status": Status.RUNNING, "stopping": True}, False),
        ({"networks": {"default": NAMED}, "user": "me"}, {"status": Status.RUNNING}, False),
        ({"networks": {"default": NAMED}, "external_links": ["web"]}, {"status": Status.RUNNING}, False),
        ({"networks": None, "network_mode": "host"}, {"status": Status.RUNNING}, False),
    ],
)
def test_changed_networks_rejoin(world, fields, state, rejoins):
    tree = {**changed(**fields), "networks": {"other": None}}
    if fields.get("networks", 0) is None:
        del tree["services"]["web"]["networks"]
    desired = desired_of(tree)
    record = world.containers[0]
    record = msgspec.structs.replace(record, state=msgspec.structs.replace(record.state, **state))
    service, snapshot = desired.services["web"], world.snapshot(desired)
    assert recreation.reason(service, record, snapshot)
    assert recreation.only_networks(service, record, snapshot) is rejoins
    old = msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, image=image_id("web:0")))
    assert not recreation.only_networks(service, old, snapshot)


def test_a_network_connected_by_hand_does_not_count(world):
    spec = world.containers[0].spec
    spec = msgspec.structs.replace(spec, networks=(*spec.networks, Attachment(network="by-hand")))
    world.networks["by-hand"] = world.networks["demo_default"]
    assert reason(world, TREE, spec=spec) == ""
