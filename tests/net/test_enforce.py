"""Whoever flushes the packet filter, nothing opens, and all rules are back within a second."""

import asyncio
import contextlib
import functools
import socket
import struct
import subprocess
import time

import pytest

from engine.net.firewall import forwarding_check, native, netlink
from engine.net.wiring import Wiring
from engine.spec.container import Attachment, PortBinding
from tests.net.conftest import blocked, connected, network, published, reaches
from tests.net.test_wiring import aside, outside  # noqa: F401 (a fixture)


def running(test):
    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


@contextlib.asynccontextmanager
async def enforced(store):
    wiring = Wiring(store, enforced=True)
    try:
        yield wiring
    finally:
        wiring.close()


def flush(store, how):
    if how == "iptables -F":
        subprocess.run("iptables -F; iptables -t nat -F; ip6tables -F", shell=True, check=True)
        return
    with netlink.Nfnetlink() as kernel:
        if how == "nft flush ruleset":
            tables = [netlink.name_of(one[1]) for one in kernel.objects(netlink.GETTABLE)]
            gone = [netlink.delete_table(name) for name in tables if "-guard-" not in name]
        else:
            gone = [netlink.message(netlink.DELRULE, netlink.text(1, native.table(store.roots)))]
        kernel.do(how, "everything", gone)


async def restored(store, records):
    """Whether all is back within a second."""
    end = time.monotonic() + 1
    while not (whole := native.is_whole(store.roots, records)) and time.monotonic() < end:
        await asyncio.sleep(0.01)
    return whole


FLUSHES = ["nft flush ruleset", "nft flush table", "iptables -F"]


@pytest.mark.parametrize("how", FLUSHES)
@running
async def test_rules_come_back_by_themselves(store, spaces, outside, how):  # noqa: F811
    a = spaces()
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with (
        enforced(store) as wiring,
        network(store) as record,
        connected(wiring, a, Attachment(network="n"), ports=ports),
    ):
        listener, before = a.listen(80), published()
        flush(store, how)
        assert await restored(store, [record]) and published() == before
        for _ in range(100):
            if await aside(reaches, outside, "203.0.113.1", 8080, None, 0.2):
                break
        assert await aside(reaches, outside, "203.0.113.1", 8080, listener)


@running
async def test_nothing_is_open_while_rules_are_restored(store, spaces, outside):  # noqa: F811
    """The table is removed and not restored: what was closed stays closed, because the guard remains."""
    inner, web, other = spaces(), spaces(), spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with (
        enforced(store) as wiring,
        network(store, "in", internal=True),
        network(store, "n"),
        network(store, "m"),
        connected(wiring, inner, Attachment(network="in")) as ((end,), _),
        connected(wiring, web, Attachment(network="n"), ports=ports) as ((served,), _),
        connected(wiring, other, Attachment(network="m")),
    ):
        web.listen(80)
        web.listen(81)
        service = socket.create_server(("0.0.0.0", 9090))
        gateway = f"{end.ipv4_address.rpartition('.')[0]}.1"
        inner.output("ip", "route", "add", "default", "via", gateway)
        flush(store, "nft flush ruleset")  # and the loop, which would restore it, does not run
        for address, port in ((served.ipv4_address, 80), (gateway, 8080), (gateway, 9090), ("203.0.113.2", 80)):
            assert blocked(inner, address, port), (address, port)
        assert blocked(other, served.ipv4_address, 81) and blocked(outside, served.ipv4_address, 81)
        with netlink.Nfnetlink() as kernel:
            guard = [netlink.name_of(one[1]) for one in kernel.objects(netlink.GETTABLE)]
            assert len(guard) == 1 and kernel.transact([netlink.delete_table(guard[0])]) != 0
        service.close()


def answers_ping(space, address):
    """Whether an echo request (RFC 792, RFC 4443) from the namespace has an answer."""
    v6 = ":" in address
    kind, answer = (128, 129) if v6 else (8, 0)
    with space.inside():
        raw = socket.socket(*((socket.AF_INET6, socket.SOCK_RAW, 58) if v6 else (socket.AF_INET, socket.SOCK_RAW, 1)))
    with raw:
        raw.settimeout(3)
        checksum = 0 if v6 else 0xFFFF - (kind << 8)  # the kernel computes that of ICMPv6
        raw.sendto(bytes((kind, 0)) + checksum.to_bytes(2, "big") + bytes(4), (address, 0))
        with contextlib.suppress(TimeoutError):
            while True:
                data, (source, *_) = raw.recvfrom(100)
                if source == address and data[0 if v6 else 20] == answer:
                    return True
    return False


@running
async def test_what_an_internal_network_reaches_of_the_host(store, spaces):
    a = spaces()
    async with (
        enforced(store) as wiring,
        network(store, internal=True, enable_ipv6=True) as record,
        connected(wiring, a, Attachment(network="n")) as ((end,), _),
    ):
        gateways = [pool.gateway for pool in record.pools]
        dns = [socket.create_server((one, 53), family=socket.AF_INET6 if ":" in one else 2) for one in gateways]
        others = [socket.create_server((one, 54), family=socket.AF_INET6 if ":" in one else 2) for one in gateways]
        for one in gateways:
            assert reaches(a, one, 53) and blocked(a, one, 54)
            assert answers_ping(a, one)
        assert reaches(None, end.ipv4_address, 80, a.listen(80))
        for sock in (*dns, *others):
            sock.close()


@running
async def test_a_forged_source_opens_nothing_of_the_host(store, spaces):
    """A container of an internal network pretends to be the gateway, a neighbour of another network, or any other machine."""
    a = spaces()
    async with (
        enforced(store) as wiring,
        network(store, internal=True) as record,
        network(store, "other") as other,
        connected(wiring, a, Attachment(network="n")) as ((end,), _),
    ):
        gateway = record.pools[0].gateway
        with a.inside():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        answered, closed = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        with answered, closed, raw:
            answered.settimeout(3)
            answered.bind((gateway, 53))
            closed.bind((gateway, 54))
            for source in ("198.51.100.7", "127.0.0.1", gateway, other.pools[0].gateway, "0.0.0.0"):
                raw.sendto(datagram(source, gateway, 54), (gateway, 0))
            raw.sendto(datagram(end.ipv4_address, gateway, 53), (gateway, 0))
            assert answered.recv(9) == b"x"  # earlier packets would have arrived before it
            closed.setblocking(False)
            with pytest.raises(BlockingIOError):
                closed.recv(9)


def datagram(source, target, port):
    """An IPv4 packet with a UDP datagram (RFC 791, RFC 768)."""
    udp = struct.pack(">4H", 5555, port, 9, 0) + b"x"
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + addresses + udp


@running
async def test_no_bridge_listens_to_routers_or_routes_loopback_addresses(store):
    async with network(store, enable_ipv6=True) as record, network(store, "in", internal=True) as inner:
        for setting, value in {
            f"ipv6/conf/{record.bridge}/accept_ra": "0",
            f"ipv4/conf/{record.bridge}/route_localnet": "0",
            f"ipv4/conf/{inner.bridge}/forwarding": "0",
        }.items():
            assert open(f"/proc/sys/net/{setting}").read().strip() == value, setting


@running
async def test_foreign_rules_come_first(store, spaces, outside):  # noqa: F811
    """A rule in DOCKER-USER."""
    a = spaces()
    subprocess.run(
        "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER;"
        "iptables -A DOCKER-USER -d 203.0.113.2 -p tcp --dport 81 -j DROP;",
        shell=True, check=True,
    )  # fmt: skip
    async with enforced(store) as wiring, network(store), connected(wiring, a, Attachment(network="n")):
        assert reaches(a, "203.0.113.2", 80, outside.listen(80))
        outside.listen(81)
        assert blocked(a, "203.0.113.2", 81)


@pytest.mark.parametrize("order", ["before", "after"])
@running
async def test_an_internal_network_of_docker_stays_closed(store, spaces, outside, order):  # noqa: F811
    """Docker's rules for its own network, whether it was created before or after ours."""
    other, a = spaces(), spaces()
    script = (
        "ip link add br-docker type bridge && ip addr add 198.51.100.1/24 dev br-docker && ip link set br-docker up && "
        f"ip link add vethd type veth peer name eth0 netns {other.pid} && ip link set vethd master br-docker up; "
    )
    rules = (
        "iptables -P FORWARD DROP; iptables -N DOCKER-INTERNAL; iptables -I FORWARD -j DOCKER-INTERNAL; "
        "iptables -A DOCKER-INTERNAL ! -s 198.51.100.0/24 -o br-docker -j DROP; "
        "iptables -A DOCKER-INTERNAL ! -d 198.51.100.0/24 -i br-docker -j DROP"
    )
    subprocess.run(script + (rules if order == "before" else ""), shell=True, check=True)
    for command in ("link set eth0 up", "addr add 198.51.100.2/24 dev eth0", "route add default via 198.51.100.1"):
        assert other.output("ip", *command.split()) == ""
    listener = other.listen(80)
    async with enforced(store) as wiring, network(store), connected(wiring, a, Attachment(network="n")):
        if order == "after":
            assert reaches(a, "198.51.100.2", 80, listener)  # without those rules, the connection works
            subprocess.run(rules, shell=True, check=True)
        assert blocked(a, "198.51.100.2", 80)
        assert reaches(None, "198.51.100.2", 80, listener)
    subprocess.run("ip link delete vethd; ip link delete br-docker", shell=True, check=True)


def test_a_chain_that_drops_what_is_forwarded_is_seen(store):
    name = "admin"
    with netlink.Nfnetlink() as kernel:
        assert forwarding_check.dropping() == "" and forwarding_check.forwards()
        subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"], check=True)
        assert not forwarding_check.forwards()
        subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
        assert forwarding_check.dropping() == ""  # ours are accepted there
        hook = netlink.nested(4, netlink.number(1, netlink.FORWARD) + netlink.number(2, 5)) + netlink.number(5, 0)
        body = netlink.text(1, name) + netlink.text(3, "fw") + netlink.text(7, "filter") + hook
        made = [netlink.table(name), netlink.message(netlink.NEWCHAIN, body, bits=0x400)]
        kernel.do("make", name, made)
        assert forwarding_check.dropping() == "inet admin fw"
        accept = netlink.meta(6) + netlink.compare(b"cmp-") + netlink.verdict(netlink.ACCEPT)
        kernel.do("make", name, [netlink.rule(name, "fw", accept)])
        assert forwarding_check.dropping() == ""


def test_forwarding_that_was_switched_off_comes_back(store):
    async def work():
        async with enforced(store) as wiring, network(store):
            subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"], check=True)
            await wiring.check()
            assert forwarding_check.forwards()

    asyncio.run(work())


def firewalld():
    """What firewalld creates at its start and reload, as far as it affects us."""
    name = "firewalld"
    made = [netlink.table(name), netlink.delete_table(name), netlink.table(name)]
    made.append(netlink.chain(name, "filter_FORWARD", "filter", netlink.FORWARD, 10))
    refusal = netlink.rule(name, "filter_FORWARD", netlink.verdict(netlink.DROP))
    with netlink.Nfnetlink() as kernel:
        kernel.do("make", name, [*made, refusal])


@running
async def test_firewalld_and_its_reload(store, spaces, outside):  # noqa: F811
    """Where firewalld's program cannot be reached."""
    a = spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    firewalld()
    async with enforced(store) as wiring, network(store), connected(wiring, a, Attachment(network="n"), ports=ports):
        listener, server = a.listen(80), outside.listen(80)
        assert await aside(reaches, a, "203.0.113.2", 80, server)
        assert await aside(reaches, outside, "203.0.113.1", 8080, listener)
        firewalld()
        assert await aside(reaches, a, "203.0.113.2", 80, server)
        assert await aside(reaches, outside, "203.0.113.1", 8080, listener)
    with netlink.Nfnetlink() as kernel:
        kernel.do("remove", "firewalld", [netlink.delete_table("firewalld")])


@running
async def test_a_kernel_without_tables_of_ones_own(store, spaces, monkeypatch):
    """Before Linux 5.12: everything works, but nothing is guarded."""
    a = spaces()
    monkeypatch.setattr(netlink, "OWNER", 0x80)  # a flag that no kernel has
    async with enforced(store) as wiring, network(store) as record, network(store, "m") as other:
        async with connected(wiring, a, Attachment(network="n"), Attachment(network="m")):
            flush(store, "nft flush ruleset")
            assert await restored(store, [record, other])
