"""Real bridges, real packets: what containers, the host and an outside machine can reach."""

import asyncio
import contextlib
import functools
import ipaddress
import json
import os
import socket
import subprocess

import pytest
from msgspec.structs import replace

from engine.errors import Conflict, EngineError, InvalidSpec, NotFound, PortInUse, Unsupported
from engine.net import conntrack
from engine.net.firewall import native, netlink, ruleset
from engine.net.wiring import Wiring
from engine.spec import networkoptions
from engine.spec.container import Attachment, PortBinding
from engine.spec.network import Pool
from tests.net.conftest import blocked, connected, links, network, published, reaches, rows, rules


def running(test):
    """A test that is a coroutine function."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


aside = asyncio.to_thread
"""For tests in which a port's proxy must run meanwhile."""


def interfaces(space):
    return {link["ifname"]: link for link in json.loads(space.output("ip", "-j", "addr"))}


def addresses(space, link, *, scope="global"):
    return {f"{a['local']}/{a['prefixlen']}" for a in interfaces(space)[link]["addr_info"] if a["scope"] == scope}


@running
async def test_containers_reach_each_other(store, wiring, spaces):
    a, b = spaces(), spaces()
    async with network(store), connected(wiring, a, Attachment(network="n")) as ((end,), _):
        async with connected(wiring, b, Attachment(network="n")) as ((other,), _):
            assert (end.ipv4_address, end.ipv4_prefix, end.ipv4_gateway) == ("172.17.0.2", 24, "172.17.0.1")
            assert end.mac_address == "02:42:ac:11:00:02" == interfaces(a)["eth0"]["address"]
            assert addresses(a, "eth0") == {"172.17.0.2/24"} and not addresses(a, "eth0", scope="link")
            assert "default via 172.17.0.1 dev eth0" in a.output("ip", "route")
            assert reaches(a, other.ipv4_address, 80, b.listen(80)) == end.ipv4_address
            assert reaches(None, end.ipv4_address, 81, a.listen(81)) == "172.17.0.1"
            assert end.host_interface in links()


@running
async def test_fifty_containers_connect_concurrently(store, wiring, spaces):
    made = [spaces() for _ in range(50)]
    async with network(store), contextlib.AsyncExitStack() as stack:
        plans = {space: wiring.lease(space.id, [Attachment(network="n")]) for space in made}
        for space in made:
            wiring.reserve(space.id, [PortBinding(container_port=80)], plans[space])
            stack.push_async_callback(wiring.disconnect, space.id)
        await asyncio.gather(*(wiring.connect(space.id, space.pid, plans[space]) for space in made))
        assert len({plan.endpoint.ipv4_address for (plan,) in plans.values()}) == 50
        assert reaches(made[0], plans[made[49]][0].endpoint.ipv4_address, 80, made[49].listen(80))
        assert len(published()) == 50


@running
async def test_dead_container_does_not_affect_its_batch(store, wiring, spaces):
    dead, alive = spaces(), spaces()
    async with network(store):
        plans = [wiring.lease(space.id, [Attachment(network="n")]) for space in (dead, alive)]
        dead.process.kill()
        dead.process.wait()
        outcome = await asyncio.gather(
            wiring.connect(dead.id, dead.pid, plans[0]),
            wiring.connect(alive.id, alive.pid, plans[1]),
            return_exceptions=True,
        )
        assert isinstance(outcome[0], EngineError) and "ENOENT" in str(outcome[0]) and outcome[1] is None
        assert addresses(alive, "eth0") == {plans[1][0].endpoint.ipv4_address + "/24"}
        await wiring.disconnect(dead.id)
        await wiring.disconnect(alive.id)


@running
async def test_restart_before_the_kernel_has_removed_the_old_links(store, wiring, spaces):
    first, second = spaces(), spaces()
    second.id = first.id
    async with network(store):
        async with connected(wiring, first, Attachment(network="n")) as ((before,), _):
            pass
        assert before.host_interface in links()
        async with connected(wiring, second, Attachment(network="n")) as ((after,), _):
            wiring._forget()
            assert after == before and addresses(second, "eth0") == {f"{after.ipv4_address}/24"}


@running
async def test_an_address_does_not_answer_for_its_earlier_owner(store, wiring, spaces):
    """An orphaned connection keeps the network namespace of a container that has exited."""
    first, second = spaces(), spaces()
    async with network(store):
        async with connected(wiring, first, Attachment(network="n")) as ((before,), _):
            assert reaches(None, before.ipv4_address, 80, first.listen(80))
        async with connected(wiring, second, Attachment(network="n")) as ((after,), _):
            assert after.ipv4_address == before.ipv4_address and after.host_interface in links()
            assert before.host_interface not in links()
            assert reaches(None, after.ipv4_address, 80, second.listen(80))
        wiring._forget()
        assert after.host_interface not in links()


@running
async def test_networks_are_isolated(store, wiring, spaces):
    a, b, both = spaces(), spaces(), spaces()
    async with (
        network(store, "front"),
        network(store, "back"),
        connected(wiring, a, Attachment(network="front")) as ((front,), _),
        connected(wiring, b, Attachment(network="back"), ports=[PortBinding(container_port=80, host_port="8080")]) as (
            (back,),
            _,
        ),
        connected(wiring, both, Attachment(network="front"), Attachment(network="back")) as (ends, _),
    ):
        listener = b.listen(80)
        assert [end.network for end in ends] == ["back", "front"]
        assert reaches(both, back.ipv4_address, 80, listener) == ends[0].ipv4_address
        assert reaches(both, front.ipv4_address, 81, a.listen(81)) == ends[1].ipv4_address
        assert blocked(a, back.ipv4_address, 80)
        assert reaches(a, "172.17.0.1", 8080, listener)  # by the published port, like any client


@running
async def test_an_internal_network(store, wiring, spaces, outside):
    a, b = spaces(), spaces()
    listener = outside.listen(80)
    async with (
        network(store, internal=True),
        network(store, "open"),
        connected(wiring, a, Attachment(network="n"), ports=[PortBinding(container_port=80)]) as ((end,), _),
        connected(wiring, b, Attachment(network="n")) as ((other,), _),
    ):
        assert end.ipv4_gateway == "" and "default" not in a.output("ip", "route")
        assert reaches(a, other.ipv4_address, 80, b.listen(80))
        a.output("ip", "route", "add", "default", "via", "172.17.0.1")
        assert blocked(a, "203.0.113.2", 80)
        assert not published()
    listener.close()


@pytest.fixture
def outside(spaces):
    """A machine at 203.0.113.2 that routes containers' addresses to us, as a neighbour could; we are .1."""
    machine = spaces()
    subprocess.run(
        f"ip link add outside type veth peer name eth0 netns {machine.pid} && ip link set outside up && "
        "ip addr add 203.0.113.1/24 dev outside && ip -6 addr add 2001:db8::1/64 dev outside nodad",
        shell=True,
        check=True,
    )
    for command in (
        "ip link set eth0 up", "ip addr add 203.0.113.2/24 dev eth0", "ip addr add 2001:db8::2/64 dev eth0 nodad",
        "ip route add 172.16.0.0/12 via 203.0.113.1", "ip route add fd00::/8 via 2001:db8::1",
    ):  # fmt: skip
        assert machine.output(*command.split()) == ""
    yield machine
    subprocess.run(["ip", "link", "delete", "outside"], check=True)


@running
async def test_outgoing_is_masqueraded_and_incoming_closed(store, wiring, spaces, outside):
    a = spaces()
    async with network(store), connected(wiring, a, Attachment(network="n")) as ((end,), _):
        assert reaches(a, "203.0.113.2", 80, outside.listen(80)) == "203.0.113.1"
        a.listen(81)
        assert blocked(outside, end.ipv4_address, 81)


@running
async def test_a_forward_policy_of_drop(store, wiring, spaces, outside):
    a = spaces()
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with network(store), connected(wiring, a, Attachment(network="n"), ports=ports):
        assert reaches(a, "203.0.113.2", 80, outside.listen(80))
        assert reaches(outside, "203.0.113.1", 8080, a.listen(80)) == "203.0.113.2"


@running
async def test_without_masquerading_and_with_another_source(store, wiring, spaces, outside):
    a, b = spaces(), spaces()
    subprocess.run(["ip", "addr", "add", "203.0.113.7/24", "dev", "outside"], check=True)
    async with (
        network(store, "bare", driver_opts={networkoptions.MASQUERADE: "false"}),
        network(store, "named", driver_opts={networkoptions.SOURCE[4]: "203.0.113.7"}),
        connected(wiring, a, Attachment(network="bare")) as ((end,), _),
        connected(wiring, b, Attachment(network="named")),
    ):
        listener = outside.listen(80)
        assert reaches(a, "203.0.113.2", 80, listener) == end.ipv4_address
        assert reaches(b, "203.0.113.2", 80, listener) == "203.0.113.7"


@running
async def test_a_published_port_from_everywhere(store, wiring, spaces, outside):
    web, friend, stranger = spaces(), spaces(), spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with (
        network(store),
        network(store, "other"),
        connected(wiring, web, Attachment(network="n"), ports=ports) as ((_end,), bindings),
        connected(wiring, friend, Attachment(network="n")),
        connected(wiring, stranger, Attachment(network="other")),
    ):
        assert bindings == ports
        listener = web.listen(80)
        assert reaches(outside, "203.0.113.1", 8080, listener) == "203.0.113.2"
        for source in (None, friend, stranger, web):
            assert reaches(source, "203.0.113.1", 8080, listener), source
        assert await aside(reaches, None, "127.0.0.1", 8080, listener) == "172.17.0.1"  # by the proxy
        assert reaches(None, "172.17.0.1", 8080, listener)
    assert blocked(None, "203.0.113.1", 8080)


@running
async def test_loopback_port_is_reachable_only_from_the_host(store, wiring, spaces, outside):
    """Also from a machine that sends us packets for 127.0.0.1."""
    web, attacker = spaces(), spaces()
    ports = [PortBinding(container_port=80, host_ip="127.0.0.1", host_port="8080")]
    async with (
        network(store),
        connected(wiring, web, Attachment(network="n"), ports=ports),
        connected(wiring, attacker, Attachment(network="n")),
    ):
        listener = web.listen(80)
        assert await aside(reaches, None, "127.0.0.1", 8080, listener)
        service = socket.create_server(("127.0.0.1", 9090))
        for machine, link, gateway in ((attacker, "eth0", "172.17.0.1"), (outside, "eth0", "203.0.113.1")):
            assert blocked(machine, gateway, 8080)
            machine.output("sysctl", "-w", f"net.ipv4.conf.{link}.route_localnet=1")
            machine.output("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
            machine.output("ip", "route", "add", "127.0.0.1", "via", gateway, "dev", link)
            assert blocked(machine, "127.0.0.1", 8080) and blocked(machine, "127.0.0.1", 9090)
        service.close()


@running
async def test_ipv6(store, wiring, spaces, outside):
    a, b = spaces(), spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with (
        network(store, enable_ipv6=True, pools=(Pool(subnet="fd00:5::/64"),)),
        network(store, "other", enable_ipv6=True),
        connected(wiring, a, Attachment(network="n"), ports=ports) as ((end,), _),
        connected(wiring, b, Attachment(network="other")),
    ):
        assert (end.ipv6_address, end.ipv6_gateway) == ("fd00:5::2", "fd00:5::1")
        assert addresses(a, "eth0") == {"172.17.0.2/24", "fd00:5::2/64"}
        assert reaches(a, "2001:db8::2", 80, outside.listen(80, "::"), timeout=2) == "2001:db8::1"
        listener = a.listen(80, "::")
        assert reaches(outside, "2001:db8::1", 8080, listener, timeout=2) == "2001:db8::2"
        assert blocked(b, "fd00:5::2", 80) and blocked(outside, "fd00:5::2", 80)


@running
async def test_udp(store, wiring, spaces, outside):
    a = spaces()
    ports = [PortBinding(container_port=53, protocol="udp", host_port="5353")]
    async with network(store), connected(wiring, a, Attachment(network="n"), ports=ports):
        server = a.listen(53, kind=socket.SOCK_DGRAM)
        for source, address in ((outside, "203.0.113.1"), (None, "127.0.0.1")):
            with source.inside() if source else contextlib.nullcontext():
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with client:
                client.settimeout(2)
                client.connect((address, 5353))
                client.send(b"question")
                data, peer = await aside(server.recvfrom, 100)
                server.sendto(data.upper(), peer)
                assert await aside(client.recv, 100) == b"QUESTION"


@running
async def test_the_ports_lead_to_where_the_default_route_is(store, wiring, spaces, outside):
    a = spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    attachments = Attachment(network="one"), Attachment(network="two", gw_priority=1)
    async with (
        network(store, "one"),
        network(store, "two"),
        connected(wiring, a, *attachments, ports=ports) as (ends, _),
    ):
        assert f"default via {ends[1].ipv4_gateway} dev eth1" in a.output("ip", "route")
        assert [found[1:] for found in published()] == [(ends[1].ipv4_address, 80)]
        assert reaches(outside, "203.0.113.1", 8080, a.listen(80)) == "203.0.113.2"


@running
async def test_containers_that_may_not_talk(store, wiring, spaces, outside):
    a, b = spaces(), spaces()
    async with (
        network(store, driver_opts={networkoptions.ICC: "false"}),
        connected(wiring, a, Attachment(network="n")),
        connected(wiring, b, Attachment(network="n")) as ((end,), _),
    ):
        listener = b.listen(80)
        assert blocked(a, end.ipv4_address, 80) and reaches(None, end.ipv4_address, 80, listener)
        assert reaches(a, "203.0.113.2", 80, outside.listen(80))


@running
async def test_attachment_options(store, wiring, spaces):
    a = spaces()
    wanted = Attachment(
        network="n",
        ipv4_address="10.1.0.77",
        mac_address="02:00:00:AA:BB:CC",
        interface_name="lan0",
        link_local_ips=("169.254.7.7",),
        driver_opts={"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"},
    )
    async with network(store, pools=(Pool(subnet="10.1.0.0/24"),)), connected(wiring, a, wanted) as ((end,), _):
        assert interfaces(a)["lan0"]["address"] == end.mac_address == "02:00:00:aa:bb:cc"
        assert addresses(a, "lan0") | addresses(a, "lan0", scope="link") == {"10.1.0.77/24", "169.254.7.7/16"}
        assert a.output("sysctl", "-n", "net.ipv4.conf.lan0.log_martians") == "1\n"


@running
async def test_names_and_sizes_of_links(store, wiring, spaces):
    a = spaces()
    options = {"com.docker.network.container_iface_prefix": "net", "mtu": "1380"}
    async with network(store, driver_opts=options), connected(wiring, a, Attachment(network="n")):
        assert interfaces(a)["net0"]["mtu"] == 1380


@pytest.mark.parametrize(
    ("fields", "error", "complaint"),
    [
        ({"network": "nope"}, NotFound, "no such network: nope"),
        ({"interface_name": "a/b"}, InvalidSpec, "is not a valid interface name"),
        ({"interface_name": "lo"}, InvalidSpec, "is not a valid interface name"),
        ({"mac_address": "ff:ff:ff:ff:ff:ff"}, InvalidSpec, "not a valid MAC address"),
        ({"mac_address": "02:00"}, InvalidSpec, "not a valid MAC address"),
        ({"link_local_ips": ("10.0.0.1",)}, InvalidSpec, "not a link-local address"),
        ({"driver_opts": {"com.docker.network.x": "y"}}, Unsupported, "endpoint option 'com.docker.network.x'"),
        (
            {"driver_opts": {"com.docker.network.endpoint.sysctls": "net.ipv4.ip_forward=1"}},
            InvalidSpec,
            "is not net.<ipv4",
        ),
        ({"ipv4_address": "172.17.0.1"}, Conflict, "is reserved"),
    ],
)
@running
async def test_refused_attachments_lease_no_address(store, wiring, fields, error, complaint):
    async with network(store):
        with pytest.raises(error, match=complaint):
            wiring.lease("c" * 64, [Attachment(network="n"), Attachment(**{"network": "n", "priority": -1, **fields})])
        assert not rows(store, "addresses")


@running
async def test_attached_and_detached_while_it_runs(store, wiring, spaces, outside):
    a, b = spaces(), spaces()
    async with (
        network(store, "one"),
        network(store, "two"),
        connected(wiring, a, Attachment(network="one")) as ((first,), _),
        connected(wiring, b, Attachment(network="two")) as ((other,), _),
    ):
        listener = b.listen(80)
        assert blocked(a, other.ipv4_address, 80)
        second = await wiring.attach(a.id, a.pid, Attachment(network="two", aliases=("x",)), [first])
        assert second.interface == "eth1" and second.aliases == ("x",)
        assert reaches(a, other.ipv4_address, 80, listener)
        assert f"default via {first.ipv4_gateway} dev eth0" in a.output("ip", "route")
        left = await wiring.detach(a.id, a.pid, "one", [first, second])
        assert left == [second] and "eth0" not in interfaces(a)
        await wiring.set_default_route(a.id, a.pid, left, [], [])
        assert f"default via {second.ipv4_gateway} dev eth1" in a.output("ip", "route")
        assert reaches(a, "203.0.113.2", 80, outside.listen(80))
        assert [row[:2] for row in rows(store, "addresses") if row[2] == a.id] == [("two", second.ipv4_address)]
        again = await wiring.attach(a.id, a.pid, Attachment(network="one"), left)
        assert again.interface == "eth0"
        with pytest.raises(NotFound):
            await wiring.attach(a.id, a.pid, Attachment(network="nope"), left)


@running
async def test_the_next_supervisor_takes_over(store, wiring, spaces, outside):
    a = spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with network(store):
        plans = wiring.lease(a.id, [Attachment(network="n")])
        bindings = wiring.reserve(a.id, ports, plans)
        await wiring.connect(a.id, a.pid, plans)
        listener = a.listen(80)
        before = rules()
        wiring.close()  # as the kernel does when the process is killed
        assert reaches(outside, "203.0.113.1", 8080, listener)
        following = Wiring(store)
        await following.resume(a.id, bindings, [plan.endpoint for plan in plans])
        await following.sweep({a.id})
        assert [one.split()[:2] for one in rules()] == [one.split()[:2] for one in before]
        assert {one for one in rules() if "relayed" not in one} == {one for one in before if "relayed" not in one}
        for address in ("127.0.0.1", "::1"):
            assert await aside(reaches, None, address, 8080, listener)
        with pytest.raises(PortInUse):
            following.reserve("b" * 64, ports)
        with netlink.Nfnetlink() as kernel:
            kernel.do("flush", "ruleset", [netlink.delete_table(native.table(store.roots))])
        await following.sweep({a.id})
        assert reaches(outside, "203.0.113.1", 8080, listener)
        await following.disconnect(a.id)
        assert blocked(None, "127.0.0.1", 8080) and not rows(store, "ports") and not rows(store, "addresses")


@running
async def test_sweep_releases_resources_of_dead_containers(store, wiring, spaces):
    a = spaces()
    async with network(store):
        plans = wiring.lease(a.id, [Attachment(network="n")])
        wiring.reserve(a.id, [PortBinding(container_port=80)], plans)
        await wiring.connect(a.id, a.pid, plans)
        wiring.close()
        with store.transaction() as db:
            db.execute("INSERT INTO containers VALUES (?, 'x', 'g', '')", (a.id,))
        await Wiring(store).sweep(set())
        assert rows(store, "addresses") and any(
            a.id[:12] in rule for rule in rules()
        )  # it might belong to another group
        await Wiring(store).sweep(set(), {a.id})
        assert not rows(store, "addresses") and not rows(store, "ports")
        assert not [rule for rule in rules() if a.id[:12] in rule]


@running
async def test_hairpin_only_with_published_ports(store, wiring, spaces):
    a, b = spaces(), spaces()
    async with network(store):
        for space, wanted in ((a, [PortBinding(container_port=80)]), (b, [])):
            plans = wiring.lease(space.id, [Attachment(network="n")])
            wiring.reserve(space.id, wanted, plans)
            await wiring.connect(space.id, space.pid, plans)
            shown = ["ip", "-d", "-j", "link", "show", plans[0].endpoint.host_interface]
            (link,) = json.loads(subprocess.run(shown, capture_output=True, check=True).stdout)
            assert link["linkinfo"]["info_slave_data"]["hairpin"] is bool(wanted)
        for space in (a, b):
            await wiring.disconnect(space.id)


@running
async def test_failed_link_affects_only_its_container(store, wiring, spaces):
    a, b = spaces(), spaces()
    async with network(store):
        plans = [wiring.lease(space.id, [Attachment(network="n")]) for space in (a, b)]
        for space, plan in zip((a, b), plans, strict=True):
            wiring.reserve(space.id, [PortBinding(container_port=80)], plan)
        bad = replace(plans[0][0], endpoint=replace(plans[0][0].endpoint, interface="a/b"))
        outcome = await asyncio.gather(
            wiring.connect(a.id, a.pid, [bad]), wiring.connect(b.id, b.pid, plans[1]), return_exceptions=True
        )
        assert isinstance(outcome[0], EngineError) and outcome[1] is None
        assert [owner for owner, *_ in published()] == [b.id[:12]] * len(published())
        for space in (a, b):
            await wiring.disconnect(space.id)
    assert not rows(store, "ports")


@running
async def test_tracked_connections_of_released_address_are_deleted(store, wiring, spaces, outside):
    """The published container stops, a neighbour without ports gets its address, then it starts again elsewhere."""
    first, neighbour, again = spaces(), spaces(), spaces()
    ports = [PortBinding(container_port=53, protocol="udp", host_port="5353")]
    with outside.inside():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("203.0.113.1", 5353))
    client.settimeout(2)
    async with network(store):
        async with connected(wiring, first, Attachment(network="n"), ports=ports) as ((before,), _):
            server = first.listen(53, kind=socket.SOCK_DGRAM)
            client.send(b"1")
            assert server.recv(10) == b"1"
        async with connected(wiring, neighbour, Attachment(network="n")) as ((taken,), _):
            assert taken.ipv4_address == before.ipv4_address
            stranger = neighbour.listen(53, kind=socket.SOCK_DGRAM)
            stranger.settimeout(0.2)
            for _ in range(2):  # the first error is the host's "unreachable", a separate connection
                with contextlib.suppress(ConnectionError):
                    client.send(b"2")
            with pytest.raises(TimeoutError):
                stranger.recv(10)
            async with connected(wiring, again, Attachment(network="n"), ports=ports):
                server = again.listen(53, kind=socket.SOCK_DGRAM)
                with contextlib.suppress(ConnectionError):
                    client.send(b"lost to an error of before")
                client.send(b"3")
                assert server.recv(100)
    client.close()


def test_only_connections_of_the_address_are_forgotten(outside):
    def count(text):
        with open("/proc/net/nf_conntrack", encoding="ascii") as file:
            return sum(text in line for line in file)

    subprocess.run("iptables -A OUTPUT -m conntrack --ctstate NEW", shell=True, check=True)  # starts the tracking
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for address in ("203.0.113.2", "203.0.113.3"):
        for port in (1000, 1001):
            sock.sendto(b"x", (address, port))
    if not os.path.exists("/proc/net/nf_conntrack"):
        pytest.skip("this kernel does not list its connections")
    for many in (conntrack._MANY, 0):
        before = count("203.0.113.2"), count("203.0.113.3")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conntrack, "_MANY", many)
            conntrack.forget(["203.0.113.2"])
        assert before == (2, 2) and (count("203.0.113.2"), count("203.0.113.3")) == (0, 2)
        for port in (1000, 1001):
            sock.sendto(b"x", ("203.0.113.2", port))
    sock.close()


@running
async def test_loopback_ports_lead_to_whichever_address_the_program_listens_at(store, wiring, spaces):
    a = spaces()
    ports = [PortBinding(container_port=port, host_port=str(8000 + port)) for port in (80, 81)]
    async with (
        network(store, enable_ipv6=True),
        connected(wiring, a, Attachment(network="n"), ports=ports) as (
            (end,),
            _,
        ),
    ):
        four, six = a.listen(80), a.listen(81, "::")
        assert await aside(reaches, None, "::1", 8080, four) == "172.17.0.1"
        assert ipaddress.ip_address(await aside(reaches, None, "::1", 8081, six)) in ipaddress.ip_network(
            f"{end.ipv6_address}/64", strict=False
        )
        assert await aside(reaches, None, "127.0.0.1", 8081, six) == "::ffff:172.17.0.1"


@running
async def test_address_announcements(store, wiring, spaces):
    a = spaces()
    option = {"com.docker.network.advertise_addr_nmsgs": "3"}
    async with network(store, driver_opts=option, enable_ipv6=True) as record:
        plans = wiring.lease(a.id, [Attachment(network="n")])
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as sniffer:
            sniffer.bind((record.bridge, 0x0806))
            sniffer.settimeout(5)
            await wiring.connect(a.id, a.pid, plans)
            frame = await aside(sniffer.recv, 100)
        assert socket.inet_ntoa(frame[28:32]) == socket.inet_ntoa(frame[38:42]) == plans[0].endpoint.ipv4_address
        await wiring.disconnect(a.id)


@running
async def test_a_kernel_without_tproxy(store, wiring, spaces, monkeypatch):
    """The relay then has a socket for each port."""
    monkeypatch.setattr(ruleset, "_left_out", set())
    monkeypatch.setattr(ruleset, "divert", lambda *_: netlink._expression("missing", b""))
    for cached in (ruleset.note, ruleset.rules, ruleset._translating):
        cached.cache_clear()
    a = spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with network(store), connected(wiring, a, Attachment(network="n"), ports=ports):
        listener = a.listen(80)
        for address in ("127.0.0.1", "::1"):
            assert await aside(reaches, None, address, 8080, listener) == "172.17.0.1"
        assert not ruleset.has_relay()
        await wiring.check()
    monkeypatch.undo()
    for cached in (ruleset.note, ruleset.rules, ruleset._translating):
        cached.cache_clear()


@running
async def test_a_port_is_free_again_right_after_a_connection_through_the_relay(store, wiring, spaces):
    a = spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with network(store):
        async with connected(wiring, a, Attachment(network="n"), ports=ports):
            assert await aside(reaches, None, "::1", 8080, a.listen(80))  # the container's end closes first
        assert [one.host_port for one in wiring.reserve("b" * 64, ports)] == ["8080"]
        wiring.release("b" * 64)
