"""Addresses by the DHCP server of a LAN: a real server's messages on a real link."""

import asyncio
import contextlib
import ipaddress
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EngineError, InvalidSpec
from engine.net import bridge, removal
from engine.net.lan import client, dhcp
from engine.net.wiring import Wiring
from engine.spec.container import Attachment
from engine.spec.network import NetworkSpec
from tests.net.conftest import connected, reaches, rows
from tests.net.test_lan import lan  # noqa: F401 (a fixture)
from tests.net.test_wiring import addresses, interfaces, running

MAC = bytes.fromhex("0242cb007147")


class Server:
    """Answers on the LAN as in RFC 2131. `pool` are the free addresses, `said` the messages of clients, by kind."""

    def __init__(self, space, seconds=600):
        with space.inside():
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"l0\0")
            self.sock.bind(("", 67))
        self.seconds, self.refusing = seconds, False
        self.pool = [f"203.0.113.{n}" for n in range(200, 221)]
        self.leases, self.said, self.changed = {}, [], threading.Condition()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while data := self.sock.recv(2000):
            if len(data) == 1:
                return
            mac, number, own = data[28:34], data[4:8], data[12:16]
            options = dhcp._options(data[240:])
            kind = options[53][0]
            if kind == dhcp.RELEASE:
                self.leases.pop(mac, None)
            elif kind in (dhcp.DISCOVER, dhcp.REQUEST):
                asked = socket.inet_ntoa(options.get(50, own))
                if kind == dhcp.DISCOVER:
                    address = asked if asked in self.pool else self.leases.get(mac) or self.pool[0]
                    self.answer(dhcp.OFFER, data, number, address)
                elif self.refusing or (any(own) and self.leases.get(mac) != asked):
                    self.refusing = False
                    self.answer(dhcp.NAK, data, number, "0.0.0.0")
                else:
                    self.leases[mac] = asked
                    self.answer(dhcp.ACK, data, number, asked)
            with self.changed:
                self.said.append((kind, socket.inet_ntoa(own)))
                self.changed.notify_all()

    def answer(self, kind, data, number, address):
        head = b"\x02\x01\x06\0" + number + bytes(8) + socket.inet_aton(address) + bytes(8) + data[28:236]
        options = bytes((53, 1, kind, 54, 4)) + socket.inet_aton("203.0.113.1")
        if kind != dhcp.NAK:
            options += b"\x01\x04\xff\xff\xff\0\x03\x04" + socket.inet_aton("203.0.113.1")
            options += b"\x33\x04" + struct.pack(">I", self.seconds)
        to = "255.255.255.255" if data[10] & 0x80 or kind == dhcp.NAK else socket.inet_ntoa(data[12:16])
        self.sock.sendto(head + data[236:240] + options + b"\xff", (to, 68))

    def await_said(self, kind, own="0.0.0.0", times=1):
        with self.changed:
            assert self.changed.wait_for(lambda: self.said.count((kind, own)) >= times, 20), self.said

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.sendto(b"x", self.sock.getsockname())
        self.thread.join()
        self.sock.close()


@pytest.fixture
def server(lan):  # noqa: F811
    made = Server(lan)
    lan.output("ip", "link", "set", "lo", "up")
    yield made
    made.close()


@contextlib.asynccontextmanager
async def network(store):
    spec = NetworkSpec(name="n", driver="macvlan", driver_opts={"parent": "outside"}, ipam_driver="dhcp")
    await bridge.create(store, spec)
    try:
        yield
    finally:
        await removal.remove(store, "n")


@contextlib.asynccontextmanager
async def leased(wiring, space, attachment):
    await wiring.obtain(space.id, [attachment])
    async with connected(wiring, space, attachment) as ((end,), _):
        yield end


@running
async def test_an_address_from_the_lan_given_back_at_the_end(store, wiring, spaces, lan, server):  # noqa: F811
    a = spaces()
    async with network(store):
        async with leased(wiring, a, Attachment(network="n")) as end:
            assert addresses(a, "eth0") == {"203.0.113.200/24"} and end.ipv4_gateway == "203.0.113.1"
            assert interfaces(a)["eth0"]["address"] == end.mac_address == client.hardware(a.id[:12], "n")
            assert reaches(lan, "203.0.113.200", 80, a.listen(80)) == "203.0.113.1"
            assert rows(store, "addresses") == [("n", "203.0.113.200", a.id)]
        server.await_said(dhcp.RELEASE, "203.0.113.200")
        assert server.leases == {} and rows(store, "addresses") == []


@running
async def test_a_lease_is_renewed(store, wiring, spaces, server, monkeypatch):
    a = spaces()
    monkeypatch.setattr(dhcp, "_SHORTEST", 1)
    server.seconds = 2
    async with network(store):
        mac = Attachment(network="n", mac_address="02:42:cb:00:71:47")
        async with leased(wiring, a, mac):
            await asyncio.to_thread(server.await_said, dhcp.REQUEST, "203.0.113.200")
            assert addresses(a, "eth0") == {"203.0.113.200/24"} and server.leases[MAC] == "203.0.113.200"


@running
async def test_new_supervisor_renews_leases(store, wiring, spaces, server):
    a = spaces()
    async with network(store), leased(wiring, a, Attachment(network="n")) as end:
        wiring.close()
        following = Wiring(store)
        await following.resume(a.id, [], [end])
        await asyncio.to_thread(server.await_said, dhcp.REQUEST, "203.0.113.200")
        await following.disconnect(a.id)


@running
async def test_new_address_is_applied(store, wiring, spaces, server):
    a = spaces()
    moved = asyncio.Event()

    async def move(container_id, name):
        assert (container_id, name) == (a.id, "n")
        moved.set()

    wiring.moved = move
    async with network(store), leased(wiring, a, Attachment(network="n")) as end:
        wiring.close()
        del server.pool[0]
        server.leases.clear()
        server.refusing = True
        following = Wiring(store)
        following.moved = move
        await following.resume(a.id, [], [end])
        await asyncio.wait_for(moved.wait(), 20)
        await following.disconnect(a.id)
    assert server.leases == {}


@running
async def test_a_fixed_address_is_asked_for(store, wiring, spaces, server):
    a, b = spaces(), spaces()
    async with network(store):
        async with leased(wiring, a, Attachment(network="n", ipv4_address="203.0.113.210")):
            assert addresses(a, "eth0") == {"203.0.113.210/24"}
        with pytest.raises(InvalidSpec, match=r"assigns 203\.0\.113\.200, not 203\.0\.113\.99"):
            await wiring.obtain(b.id, [Attachment(network="n", ipv4_address="203.0.113.99")])


@running
async def test_missing_server_is_an_error(store, wiring, spaces, lan, monkeypatch):  # noqa: F811
    monkeypatch.setattr(client, "_PAUSES", (0.05, 0.05))
    async with network(store):
        with pytest.raises(EngineError, match=r"DHCP on outside.*ETIMEDOUT"):
            await wiring.obtain(spaces().id, [Attachment(network="n")])


def _framed(kind, mac=MAC, number=7, options=b""):
    body = dhcp._BOOTP.pack(
        2, 1, 6, 0, number, 0, 0, bytes(4), socket.inet_aton("10.0.0.9"), bytes(4), bytes(4), mac, b"", b""
    )
    body += dhcp._COOKIE + bytes((53, 1, kind)) + options + b"\xff"
    sent = bytearray(dhcp.frame(body, b"\x02" * 6, to="10.0.0.9"))
    sent[34:38] = struct.pack(">HH", 67, 68)
    return bytes(sent)


def test_answers_are_for_one_client():
    assert dhcp.read(_framed(dhcp.ACK), 7, MAC).lease.address == "10.0.0.9"
    assert dhcp.read(_framed(dhcp.ACK), 8, MAC) is None
    assert dhcp.read(_framed(dhcp.ACK), 7, bytes(6)) is None
    assert dhcp.read(_framed(dhcp.DISCOVER), 7, MAC) is None


def test_values_of_a_lease():
    options = b"\x01\x04\xff\xff\xfe\0\x33\x04\0\0\x0e\x10\x3a\x04\0\0\0\x64\x03\x08\x0a\0\0\x01\x0a\0\0\x02"
    lease = dhcp.read(_framed(dhcp.ACK, options=options), 7, MAC).lease
    assert (lease.prefix, lease.seconds, lease.renew, lease.gateway) == (23, 3600, 100, "10.0.0.1")
    assert dhcp.read(_framed(dhcp.ACK, options=b"\x33\x04\xff\xff\xff\xff"), 7, MAC).lease.seconds == 0
    assert dhcp.read(_framed(dhcp.ACK, options=b"\x01\x04\x0f\0\xff\0"), 7, MAC) is None


@given(st.binary(max_size=400), st.integers(0, 600))
def test_malformed_packets_are_ignored(noise, at):
    whole = _framed(dhcp.ACK, options=b"\x33\x04\0\0\x0e\x10")
    for data in (noise, whole[:at] + noise, whole[:at]):
        answer = dhcp.read(data, 7, MAC)
        assert answer is None or ipaddress.IPv4Address(answer.lease.address)
