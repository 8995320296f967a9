"""Networks of running and stopped containers, changed without recreating them."""

import asyncio
import contextlib
import socket
import subprocess

import pytest

from engine.errors import Conflict, InvalidSpec, NotFound, WrongState
from engine.net import host_changes
from engine.session import membership
from engine.spec.container import Attachment, Membership, PortBinding
from engine.spec.network import NetworkSpec, Pool


@pytest.fixture
def networks(box):
    for name, subnet in (("a", "10.77.1.0/24"), ("b", "10.77.2.0/24")):
        box.do(box.session.create_network(NetworkSpec(name=f"{box.group}{name}", pools=(Pool(subnet=subnet),))))
    return f"{box.group}a", f"{box.group}b"


def links(box, record):
    return [line.split()[1].rstrip(":").split("@")[0] for line in box.inside(record, "ip -o link").splitlines()]


def asking(box, record, *command):
    """The result of a command in the container that queries our DNS server, which answers in the session's loop."""
    return box.do(asyncio.to_thread(box.exec, record, *command))


def test_connect_and_disconnect(box, networks):
    a, b = networks
    record = box.start(networks=(Attachment(network=a),))
    pid = box.state(record).pid
    box.do(box.session.connect(record.id, Attachment(network=b, ipv4_address="10.77.2.9", aliases=("second",))))
    assert links(box, record) == ["lo", "eth0", "eth1"] and box.state(record).pid == pid
    assert "inet 10.77.2.9/24" in box.inside(record, "ip addr show eth1")
    assert "10.77.2.9\t" in box.inside(record, "cat /etc/hosts")
    other = box.start(networks=(Attachment(network=b),))
    assert "10.77.2.9" in asking(box, other, "nslookup", "second")[1]
    assert [one.network for one in box.state(record).endpoints] == [a, b]
    box.do(box.session.disconnect(record.id, a))
    assert links(box, record) == ["lo", "eth1"]
    assert "default via 10.77.2.1" in box.inside(record, "ip route")
    assert "10.77.1." not in box.inside(record, "cat /etc/hosts")
    assert asking(box, other, "ping", "-c1", "-W2", "second")[0] == 0
    box.do(box.session.disconnect(record.id, b))
    assert links(box, record) == ["lo"] and asking(box, other, "nslookup", "second")[0] != 0
    box.do(box.session.connect(record.id, Attachment(network=a, aliases=("first",))))
    assert "default via 10.77.1.1" in box.inside(record, "ip route")


def test_a_container_of_the_default_network_queries_its_own_servers_until_it_has_another_network(box, networks):
    record = box.start(networks=(Attachment(network="bridge"),), dns=("192.0.2.53",))
    assert "nameserver 192.0.2.53" in box.inside(record, "cat /etc/resolv.conf")
    box.do(box.session.connect(record.id, Attachment(network=networks[0])))
    assert "nameserver 127.0.0.11\n" in box.inside(record, "cat /etc/resolv.conf")
    assert "192.0.2.53" not in box.inside(record, "cat /etc/resolv.conf")


def test_the_default_route_goes_to_the_network_that_comes_first(box, networks):
    a, b = networks
    record = box.start(networks=(Attachment(network=a),))
    box.do(box.session.connect(record.id, Attachment(network=b, gw_priority=1)))
    assert "default via 10.77.2.1" in box.inside(record, "ip route")


def test_published_ports_follow(box, networks):
    a, b = networks
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    port = PortBinding(container_port=80, host_ip="127.0.0.1", host_port=str(number))
    listen = ("sh", "-c", "mkdir /web; echo hello > /web/index.html; exec httpd -f -p 80 -h /web")
    record = box.start(*listen, networks=(Attachment(network=a),), ports=(port,))

    def ask():
        """The answer to a client outside the session's loop; b"" until httpd listens."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", number), timeout=2) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return client.makefile("rb").read().rpartition(b"\r\n")[2]
        return b""

    async def greeting():
        for _ in range(100):
            if text := await asyncio.to_thread(ask):
                return text
            await asyncio.sleep(0.05)

    assert box.do(greeting()) == b"hello\n"
    box.do(box.session.connect(record.id, Attachment(network=b)))
    box.do(box.session.disconnect(record.id, a))
    assert box.do(greeting()) == b"hello\n"
    assert box.state(record).ports == (port,)
    box.do(box.session.disconnect(record.id, b))
    assert box.state(record).ports == ()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", number), timeout=2):
        pass
    box.do(box.session.connect(record.id, Attachment(network=a)))
    assert box.do(greeting()) == b"hello\n"
    assert box.state(record).ports == (port,)


def test_a_stopped_container_has_its_networks_at_the_next_start(box, networks):
    a, b = networks
    record = box.create("sleep", "1000", networks=(Attachment(network=a),))
    box.do(box.session.connect(record.id, Attachment(network=b)))
    box.do(box.session.disconnect(record.id, a))
    box.do(box.session.start(record.id))
    assert [one.network for one in box.state(record).endpoints] == [b]


def test_interrupted_changes_are_completed(box, networks):
    a, b = networks
    record = box.start(networks=(Attachment(network=a),))
    membership._write(box.session._group, record, (Attachment(network=b),))
    box.do(box.session.adopt())
    assert [one.network for one in box.state(record).endpoints] == [b]
    assert "10.77.2." in box.inside(record, "ip addr")


def test_refused_change_leaves_the_container_unchanged(box, networks):
    a, b = networks
    record = box.start(networks=(Attachment(network=a),))
    before = box.session.record(record.id)
    refused = (
        (Attachment(network=a), Conflict, "is connected to network"),
        (Attachment(network="nothing"), NotFound, "nothing"),
        (Attachment(network=b, ipv4_address="192.0.2.1"), InvalidSpec, "192.0.2.1"),
        (Attachment(network=b, ipv4_address="10.77.2.1"), Conflict, "10.77.2.1"),
    )
    for attachment, kind, text in refused:
        with pytest.raises(kind, match=text):
            box.do(box.session.connect(record.id, attachment))
    with pytest.raises(NotFound, match=b):
        box.do(box.session.disconnect(record.id, b))
    assert box.session.record(record.id) == before
    alone = box.start(network_mode="none")
    with pytest.raises(WrongState, match="network_mode none"):
        box.do(box.session.connect(alone.id, Attachment(network=b)))


def test_replaced_hosts_file(box, networks):
    """A container must not make us write to a file of its choice."""
    a, b = networks
    record = box.start(networks=(Attachment(network=a),), privileged=True)
    box.inside(record, "umount /etc/hosts; rm -f /etc/hosts; mkfifo /etc/hosts")
    box.do(box.session.connect(record.id, Attachment(network=b)))
    box.inside(record, "rm /etc/hosts; ln -s /proc/1/root/etc/passwd /etc/hosts; cp /etc/passwd /tmp/before")
    box.do(box.session.disconnect(record.id, b))
    assert box.exec(record, "cmp", "/etc/passwd", "/tmp/before")[0] == 0


def test_new_connections_avoid_a_container_that_is_being_stopped(box, networks):
    a, _ = networks
    client = box.start(networks=(Attachment(network=a),))
    deaf = ("sh", "-c", "trap : TERM; while :; do sleep 1; done")
    ends, stays = (
        box.start(*deaf, stop_signal="SIGTERM", networks=(Attachment(network=a, aliases=("app",)),)) for _ in range(2)
    )
    gone, left = (box.state(record).endpoints[0].ipv4_address for record in (ends, stays))
    assert gone in asking(box, client, "nslookup", "app")[1]

    async def stopping():
        task = asyncio.ensure_future(box.session.stop(ends.id, timeout=60))
        while gone in (found := (await asyncio.to_thread(box.exec, client, "nslookup", "app"))[1]):
            await asyncio.sleep(0.01)
        assert left in found and box.state(ends).status.alive
        task.cancel()  # the container keeps running
        with contextlib.suppress(asyncio.CancelledError):
            await task
        while gone not in (await asyncio.to_thread(box.exec, client, "nslookup", "app"))[1]:
            await asyncio.sleep(0.01)

    box.do(asyncio.wait_for(stopping(), 30))


def rejoin(box, record, *networks, **labels):
    return box.do(box.session.rejoin([Membership(container_id=record.id, networks=networks, labels=labels)]))[0]


def test_rejoin_changes_only_what_differs(box, networks):
    a, b = networks
    port = PortBinding(container_port=80, host_port="8080")
    record = box.start(networks=(Attachment(network=a, aliases=("old",)),), ports=(port,), labels={"k": "1", "l": "1"})
    other = box.start(networks=(Attachment(network=a), Attachment(network=b)))
    before = box.state(record)
    changed = rejoin(box, record, Attachment(network=a, aliases=("new",)), k="2")
    assert changed.spec.labels == {"k": "2", "l": "1"}
    assert box.inside(record, "cat /etc/hosts").count("10.77.1.") == 1
    assert changed.state.endpoints[0].aliases == ("new",) and changed.state.pid == before.pid
    assert changed.state.endpoints[0].host_interface == before.endpoints[0].host_interface
    assert asking(box, other, "nslookup", "new")[0] == 0 and asking(box, other, "nslookup", "old")[0] != 0
    rejoin(box, record, Attachment(network=a, ipv4_address="10.77.1.9"), Attachment(network=b, gw_priority=1))
    assert "inet 10.77.1.9/24" in box.inside(record, "ip addr show eth0")
    assert "default via 10.77.2.1" in box.inside(record, "ip route")
    rejoin(box, record, Attachment(network=a, ipv4_address="10.77.1.9"), Attachment(network=b))
    assert "default via 10.77.1.1" in box.inside(record, "ip route")
    rejoin(box, record, Attachment(network=b, interface_name="lan0"))
    assert links(box, record) == ["lo", "lan0"]
    assert box.state(record).pid == before.pid and box.state(record).ports == before.ports
    assert asking(box, other, "ping", "-c1", "-W2", record.id[:12])[0] == 0


def test_refused_rejoin_changes_nothing(box, networks):
    a, b = networks
    record = box.start(networks=(Attachment(network=a, aliases=("old",)),))
    box.start(networks=(Attachment(network=b, ipv4_address="10.77.2.9"),))
    before = box.session.record(record.id)
    for wanted, kind in (
        ((Attachment(network=a, ipv4_address="10.77.1.8"), Attachment(network=b, ipv4_address="10.77.2.9")), Conflict),
        ((Attachment(network=a, ipv4_address="192.0.2.1"),), InvalidSpec),
        ((Attachment(network=a), Attachment(network="nothing")), NotFound),
    ):
        with pytest.raises(kind):
            rejoin(box, record, *wanted, k="2")
        after = box.session.record(record.id)
        assert after.spec == before.spec
        (was,), (now,) = before.state.endpoints, after.state.endpoints
        assert (now.ipv4_address, now.aliases) == (was.ipv4_address, was.aliases)
        assert f"inet {now.ipv4_address}/24" in box.inside(record, "ip addr")
    alone = box.start(network_mode="none")
    with pytest.raises(WrongState, match="network_mode none"):
        rejoin(box, alone, Attachment(network=b))


def exchanged(records, network, *addresses):
    return [
        Membership(container_id=record.id, networks=(Attachment(network=network, ipv4_address=address),))
        for record, address in zip(records, addresses, strict=True)
    ]


def addresses(box, records):
    found = [end.ipv4_address for record in records for end in box.session.record(record.id).state.endpoints]
    for record, address in zip(records, found, strict=True):
        assert f"inet {address}/" in box.inside(record, "ip addr show eth0")
    return found


def test_containers_exchange_addresses(box):
    """On a network that has no other free address."""
    small = f"{box.group}s"
    box.do(box.session.create_network(NetworkSpec(name=small, pools=(Pool(subnet="10.77.3.0/29"),))))
    before = [f"10.77.3.{n}" for n in range(2, 7)]
    records = [box.start(networks=(Attachment(network=small, ipv4_address=one),)) for one in before]
    box.do(box.session.rejoin(exchanged(records, small, *before[1:], before[0])))
    assert addresses(box, records) == [*before[1:], before[0]]
    with pytest.raises(Conflict):
        box.do(box.session.rejoin(exchanged(records[:2], small, before[0], before[4])))
    assert addresses(box, records) == [*before[1:], before[0]]
    assert asking(box, records[0], "ping", "-c1", "-W2", records[1].spec.name)[0] == 0


def test_an_exchange_cut_short_by_a_crash_is_completed(box, networks, monkeypatch):
    class Crash(BaseException):
        pass

    async def crash(*_):
        raise Crash

    a, _ = networks
    records = [box.start(networks=(Attachment(network=a, ipv4_address=f"10.77.1.{n}"),)) for n in (8, 9)]
    with monkeypatch.context() as patch, contextlib.suppress(Crash):
        patch.setattr(membership._Change, "leave", crash)
        box.do(box.session.rejoin(exchanged(records, a, "10.77.1.9", "10.77.1.8")))
    box.do(box.session.adopt())
    assert addresses(box, records) == ["10.77.1.9", "10.77.1.8"]


@pytest.mark.parametrize("step", ["_rewrite", "complete", "_take_effect"])
def test_a_rejoin_cut_short_by_a_crash_is_completed(box, networks, monkeypatch, step):
    """What has been recorded decides; the next supervisor completes it."""

    class Crash(BaseException):
        pass

    def crash(*_):
        raise Crash

    a, b = networks
    record = box.start(networks=(Attachment(network=a, ipv4_address="10.77.1.8"),))
    wanted = (Attachment(network=a, ipv4_address="10.77.1.9", aliases=("new",)), Attachment(network=b))
    with monkeypatch.context() as patch, contextlib.suppress(Crash):
        patch.setattr(membership, step, crash)
        rejoin(box, record, *wanted, k="2")
    box.do(box.session.adopt())
    after = box.session.record(record.id)
    ends = {end.network: end for end in after.state.endpoints}
    assert after.state.rejoining is None
    assert set(ends) == {one.network for one in after.spec.networks}
    assert f"{ends[a].ipv4_address}/24" in box.inside(record, "ip addr")
    done = step != "_rewrite"
    assert (ends[a].ipv4_address == "10.77.1.9") is done and (len(ends) == 2) is done
    assert (after.spec.labels.get("k") == "2") is done


@pytest.mark.parametrize(
    "change",
    [
        "ip link delete {bridge}",
        "ip link set {bridge} down",
        "ip address flush dev {bridge}",
        "ip route flush dev {bridge}; ip -6 route flush dev {bridge}",
        "ip link delete {link}",
        "ip link set {link} down",
        "ip link set {link} nomaster",
    ],
)
def test_removed_network_parts_are_restored(box, change):
    name = f"{box.group}six"
    pools = (Pool(subnet="10.77.4.0/24"), Pool(subnet="fd77:4::/64"))
    made = box.do(box.session.create_network(NetworkSpec(name=name, enable_ipv6=True, pools=pools)))
    record, other = (box.start(networks=(Attachment(network=name),)) for _ in range(2))
    (before,) = box.state(record).endpoints
    (peer,) = box.state(other).endpoints
    command = change.format(bridge=made.bridge, link=before.host_interface)
    subprocess.run(command, shell=True, check=True)
    assert host_changes.missing_parts([made], [before])
    box.do(box.session.create_network(made.spec))
    (after,) = box.state(record).endpoints
    assert (after.ipv4_address, after.ipv6_address) == (before.ipv4_address, before.ipv6_address)
    assert not host_changes.missing_parts([made], [after, peer])
    for address in ("10.77.4.1", "fd77:4::1", peer.ipv4_address, peer.ipv6_address):
        assert asking(box, record, "ping", "-c1", "-W2", address)[0] == 0
