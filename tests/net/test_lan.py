"""macvlan and ipvlan: containers with their own links on the LAN of one of the host's links."""

import contextlib
import socket
import subprocess

import pytest

from engine.errors import EngineError, InvalidSpec, Unsupported
from engine.net import bridge, removal
from engine.net.lan import settings
from engine.spec.container import Attachment, PortBinding
from engine.spec.network import NetworkRecord, NetworkSpec, Pool
from tests.net.conftest import blocked, connected, links, reaches
from tests.net.test_wiring import addresses, interfaces, running

POOLS = (
    Pool(
        subnet="203.0.113.0/24",
        gateway="203.0.113.1",
        ip_range="203.0.113.64/26",
        aux_addresses={"other": "203.0.113.64"},
    ),
    Pool(subnet="fd77:1a::/64", gateway="fd77:1a::1"),
)


@pytest.fixture
def lan(spaces):
    """A neighbour on the LAN of the host's link `outside`; the host is 203.0.113.2 there."""
    other = spaces()
    run = lambda *words: subprocess.run(words, check=True)  # noqa: E731
    run("ip", "link", "add", "outside", "type", "veth", "peer", "name", "l0", "netns", str(other.pid))
    run("ip", "addr", "add", "203.0.113.2/24", "dev", "outside")
    run("ip", "link", "set", "outside", "up")
    for words in ("addr add 203.0.113.1/24 dev l0", "-6 addr add fd77:1a::1/64 dev l0 nodad", "link set l0 up"):
        other.output("ip", *words.split())
    yield other
    subprocess.run(["ip", "link", "del", "outside"], check=False)


@contextlib.asynccontextmanager
async def network(store, driver="macvlan", pools=POOLS, parent="outside", **fields):
    options = {**({"parent": parent} if parent else {}), **fields.pop("driver_opts", {})}
    v6 = any(":" in pool.subnet for pool in pools)
    spec = NetworkSpec(name="n", driver=driver, driver_opts=options, enable_ipv6=v6, pools=pools, **fields)
    await bridge.create(store, spec)
    try:
        yield
    finally:
        await removal.remove(store, "n")


@running
async def test_macvlan_with_fixed_addresses(store, wiring, spaces, lan):
    a, b = spaces(), spaces()
    fixed = Attachment(
        network="n", ipv4_address="203.0.113.70", ipv6_address="fd77:1a::70", mac_address="02:42:cb:00:71:46"
    )
    async with network(store), connected(wiring, a, fixed) as ((end,), _):
        async with connected(wiring, b, Attachment(network="n")) as ((other,), _):
            assert addresses(a, "eth0") == {"203.0.113.70/24", "fd77:1a::70/64"}
            assert interfaces(a)["eth0"]["address"] == "02:42:cb:00:71:46"
            assert other.ipv4_address == "203.0.113.65" and end.host_interface == ""
            assert "default via 203.0.113.1 dev eth0" in a.output("ip", "route")
            assert reaches(lan, "203.0.113.70", 80, a.listen(80)) == "203.0.113.1"
            assert reaches(lan, "fd77:1a::70", 81, a.listen(81, "::")) == "fd77:1a::1"
            assert reaches(b, "203.0.113.70", 82, a.listen(82)) == "203.0.113.65"
            assert blocked(None, "203.0.113.70", 80)
    assert links() == ["lo", "outside"]


@running
async def test_host_access_option(store, wiring, spaces, lan):
    a = spaces()
    async with (
        network(store, pools=POOLS[:1], host_access=True),
        connected(wiring, a, Attachment(network="n")) as (
            (end,),
            _,
        ),
    ):
        assert reaches(None, end.ipv4_address, 80, a.listen(80)) == "203.0.113.2"
        with socket.create_server(("203.0.113.2", 82)) as listener:
            listener.settimeout(3)
            assert reaches(a, "203.0.113.2", 82, listener) == end.ipv4_address
        assert reaches(lan, end.ipv4_address, 81, a.listen(81)) == "203.0.113.1"
    assert "203.0.113.65" not in subprocess.check_output(["ip", "route"], text=True)


@running
async def test_ports_are_not_published_on_the_lan(store, wiring, spaces, lan):
    a = spaces()
    async with network(store):
        ports = [PortBinding(container_port=80, host_port="8080")]
        async with connected(wiring, a, Attachment(network="n"), ports=ports) as (_, bindings):
            assert bindings == []


@running
async def test_without_a_parent_containers_reach_each_other_only(store, wiring, spaces):
    a, b = spaces(), spaces()
    async with network(store, parent="", pools=POOLS[:1]), connected(wiring, a, Attachment(network="n")) as ((end,), _):
        async with connected(wiring, b, Attachment(network="n")):
            assert reaches(b, end.ipv4_address, 80, a.listen(80))
            assert "default" not in a.output("ip", "route")


@running
async def test_a_running_container_joins_and_leaves(store, wiring, spaces, lan):
    a = spaces()
    async with network(store):
        end = await wiring.attach(a.id, a.pid, Attachment(network="n"), [])
        await wiring.set_default_route(a.id, a.pid, [end], [], [])
        assert reaches(lan, end.ipv4_address, 80, a.listen(80)) == "203.0.113.1"
        assert await wiring.detach(a.id, a.pid, "n", [end]) == []
        assert list(interfaces(a)) == ["lo"]


@running
async def test_passthru_is_for_one_container(store, wiring, spaces, lan):
    a, b = spaces(), spaces()
    async with network(store, driver_opts={"macvlan_mode": "passthru"}), connected(wiring, a, Attachment(network="n")):
        with pytest.raises(EngineError, match="passthru"):
            async with connected(wiring, b, Attachment(network="n")):
                pass


def _has(kind):
    """Whether this kernel can create links of a kind on another link."""
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", f"ip link add v0 type veth && ip link add link v0 name x0 type {kind}"],
        capture_output=True,
    )
    return done.returncode == 0


@running
async def test_a_sub_interface_is_made_and_removed(store, wiring, spaces, lan):
    if not _has("vlan id 5"):
        async with contextlib.AsyncExitStack() as stack:
            with pytest.raises(EngineError, match="modprobe 8021q"):
                await stack.enter_async_context(network(store, parent="outside.50"))
        await removal.remove(store, "n")
        return
    a = spaces()
    for words in (
        "link add link l0 name l0.50 type vlan id 50",
        "addr add 198.51.100.1/24 dev l0.50",
        "link set l0.50 up",
    ):
        lan.output("ip", *words.split())
    pools = (Pool(subnet="198.51.100.0/24", gateway="198.51.100.1"),)
    async with (
        network(store, parent="outside.50", pools=pools),
        connected(wiring, a, Attachment(network="n")) as ((end,), _),
    ):
        assert "outside.50" in links()
        assert reaches(lan, end.ipv4_address, 80, a.listen(80)) == "198.51.100.1"
    assert "outside.50" not in links()


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@running
async def test_ipvlan(store, wiring, spaces, lan, mode):
    a = spaces()
    async with network(store, driver="ipvlan", driver_opts={"ipvlan_mode": mode}):
        if not _has("ipvlan"):
            with pytest.raises(EngineError, match="modprobe ipvlan"):
                async with connected(wiring, a, Attachment(network="n")):
                    pass
            return
        async with connected(wiring, a, Attachment(network="n")) as ((end,), _):
            way = "via 203.0.113.1 dev eth0" if mode == "l2" else "dev eth0 scope link"
            assert f"default {way}" in a.output("ip", "route")
            if mode == "l2":
                assert reaches(lan, end.ipv4_address, 80, a.listen(80)) == "203.0.113.1"


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"driver_opts": {"macvlan_mode": "l2"}}, InvalidSpec, "not one of bridge, private, vepa, passthru"),
        ({"driver_opts": {"parrent": "eth0"}}, Unsupported, "'parrent'.*macvlan"),
        ({"driver_opts": {"com.docker.network.bridge.name": "x"}}, Unsupported, "macvlan driver"),
        ({"driver_opts": {"mtu": "many"}}, InvalidSpec, "number of bytes"),
        ({"host_access": True}, InvalidSpec, "parent"),
        ({"ipam_driver": "dhcp"}, InvalidSpec, "parent"),
        ({"ipam_driver": "dhcp", "driver": "ipvlan"}, Unsupported, "hardware address"),
        ({"ipam_driver": "dhcp", "driver_opts": {"parent": "e"}, "pools": POOLS[:1]}, InvalidSpec, "leave it out"),
    ],
)
def test_invalid_options_are_refused(fields, kind, text):
    with pytest.raises(kind, match=text):
        settings.check(NetworkSpec(**{"name": "n", "driver": "macvlan", **fields}))


@running
async def test_missing_parent_is_an_error(store):
    with pytest.raises(InvalidSpec, match="the host has no link nothing0"):
        async with network(store, parent="nothing0"):
            pass
    await removal.remove(store, "n")


def test_record_without_a_driver_is_a_bridge():
    assert not settings.is_lan(NetworkRecord(id="0" * 64, spec=NetworkSpec(name="n")))
