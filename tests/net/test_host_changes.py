"""Changes that the host makes to existing networks."""

import subprocess

import pytest

from engine.net import host_changes
from engine.spec.network import NetworkRecord, NetworkSpec, Pool
from engine.spec.state import Endpoint
from tests.net.conftest import apart


def record(name, subnet, *, chosen=False, bridge="", driver="bridge", **driver_opts):
    """`driver_opts`: options of bridges by the last part of their names."""
    pools = (Pool(subnet=subnet),)
    options = {f"com.docker.network.bridge.{key}": value for key, value in driver_opts.items()}
    spec = NetworkSpec(name=name, driver=driver, pools=pools if chosen else (), driver_opts=options)
    return NetworkRecord(id=name, spec=spec, pools=pools, bridge=bridge or f"cmp-{name}")


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@pytest.fixture
def host():
    with apart():
        ip("link", "add", "else0", "type", "veth", "peer", "name", "peer0")
        ip("link", "add", "cmp-a", "type", "bridge")
        for link in ("else0", "peer0", "cmp-a"):
            ip("link", "set", link, "up")
        yield


def test_missing_bridge_is_reported(host):
    networks = [record("a", "10.1.0.0/24"), record("b", "10.2.0.0/24"), record("m", "10.3.0.0/24", driver="macvlan")]
    networks.append(record("c", "10.1.0.0/24", bridge="cmp-a"))
    ip("address", "add", "10.1.0.1/24", "dev", "cmp-a")
    assert host_changes.missing_parts(networks) == {"b": "its bridge is gone"}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("link set cmp-a down", "its bridge is down"),
        ("address del 10.1.0.1/24 dev cmp-a", "the address 10.1.0.1 of its bridge is gone"),
        ("-6 address del fd77:1::1/64 dev cmp-a", "the address fd77:1::1 of its bridge is gone"),
        ("route del 10.1.0.0/24 dev cmp-a", "the route to its bridge is gone"),
        ("-6 route del fd77:1::/64 dev cmp-a", "the route to its bridge is gone"),
        ("link del else0", "the link else0 of a container is gone"),
        ("link set else0 down", "the link else0 of a container is down"),
        ("link set else0 nomaster", "the link else0 of a container is not connected to its bridge"),
    ],
)
def test_missing_parts_are_reported(host, change, cause):
    pools = (Pool(subnet="10.1.0.0/24", gateway="10.1.0.1"), Pool(subnet="fd77:1::/64", gateway="fd77:1::1"))
    network = NetworkRecord(id="a", spec=NetworkSpec(name="a"), pools=pools, bridge="cmp-a")
    ends = [Endpoint(network="a", host_interface="else0"), Endpoint(network="other", host_interface="none0")]
    ip("link", "set", "else0", "master", "cmp-a")
    ip("address", "add", "10.1.0.1/24", "dev", "cmp-a")
    ip("-6", "address", "add", "fd77:1::1/64", "dev", "cmp-a", "nodad")
    assert host_changes.missing_parts([network], ends) == {}
    ip(*change.split())
    assert host_changes.missing_parts([network], ends) == {"a": cause}


@pytest.mark.parametrize(
    ("route", "chosen", "rival"),
    [
        ("10.1.0.0/24", False, True),
        ("10.1.0.7/32", True, True),
        ("10.1.0.128/25", False, True),
        ("10.0.0.0/8", False, True),
        ("10.0.0.0/8", True, False),
        ("10.1.1.0/24", False, False),
        ("0.0.0.0/1", False, False),
        ("default", False, False),
        ("fd77:1::/64", True, True),
        ("fd77:2::/64", False, False),
    ],
)
def test_routes_that_lead_elsewhere(host, route, chosen, rival):
    version = ["-6"] if ":" in route else []
    subnet = "fd77:1::/64" if version else "10.1.0.0/24"
    network = record("a", subnet, chosen=chosen)
    ip(*version, "route", "add", subnet, "dev", "cmp-a")
    assert host_changes.conflicting_routes([network]) == {}
    ip(*version, "route", "add", route, "dev", "else0", "table", "77")
    shown = f"{route} of link else0"
    assert host_changes.conflicting_routes([network]) == ({"a": shown} if rival else {})


def test_networks_without_an_address_on_the_host_have_no_rivals(host):
    ip("route", "add", "10.1.0.0/24", "dev", "else0")
    assert host_changes.conflicting_routes([record("a", "10.1.0.0/24", inhibit_ipv4="true")]) == {}
    assert host_changes.conflicting_routes([record("a", "10.1.0.0/24", gateway_mode_ipv4="isolated")]) == {}
    assert host_changes.conflicting_routes([record("a", "10.1.0.0/24", driver="macvlan")]) == {}
    assert host_changes.conflicting_routes([record("a", "10.1.0.0/24", bridge="else0")]) == {}
