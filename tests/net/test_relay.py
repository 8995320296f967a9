"""The relay of published ports: the real program, between sockets of this process."""

import asyncio
import contextlib
import errno
import hashlib
import os
import signal
import socket
import struct
import threading

import pytest

from engine.errors import OperationFailed
from engine.net.relay.relay import Relay, Target
from engine.spec.container import PortBinding

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def bound(address="127.0.0.1", kind="tcp"):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, KINDS[kind])
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, 0))
    if kind == "tcp":
        sock.listen(128)
    sock.setblocking(False)
    return sock


class Served:
    """A published port: `near` is the host's socket, `target` the container's."""

    def __init__(self, relay, owner="c", *, at="127.0.0.1", target="127.0.0.1", kind="tcp", v4="127.0.0.1", v6=""):
        self.near, self.target = bound(at, kind), bound(target, kind)
        self.target.settimeout(10)
        self.port = PortBinding(container_port=self.target.getsockname()[1], protocol=kind)
        self.address = self.near.getsockname()[:2]
        relay.serve(owner, [(self.near, self.port)], Target(v4, v6))

    def connected(self):
        """Both ends of one connection."""
        client = socket.create_connection(self.address, 10)
        far, _ = self.target.accept()
        far.settimeout(10)
        return client, far


class InLoop:
    """A relay in the event loop of another thread."""

    def __init__(self, folder):
        self.loop = asyncio.new_event_loop()
        self.relay = Relay(str(folder))
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def do(self, method, *arguments):
        async def run():
            return getattr(self.relay, method)(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def serve(self, *arguments):
        self.do("serve", *arguments)

    def stop(self, owner):
        self.do("stop", owner)

    @property
    def pid(self):
        return self.relay._pid


@pytest.fixture
def relay(tmp_path):
    made = InLoop(tmp_path)
    yield made
    made.do("close")
    assert made.pid == 0
    made.loop.call_soon_threadsafe(made.loop.stop)
    made.thread.join()
    made.loop.close()


def everything(sock):
    found = hashlib.sha256()
    while data := sock.recv(1 << 16):
        found.update(data)
    return found.hexdigest()


def test_half_closed_connections(relay):
    client, far = Served(relay).connected()
    data = os.urandom(1 << 20) * 24

    def send(sock, text):
        sock.sendall(text)
        sock.shutdown(socket.SHUT_WR)

    found = {}
    work = [
        threading.Thread(target=send, args=(client, data)),
        threading.Thread(target=send, args=(far, data[::-1])),
        threading.Thread(target=lambda: found.update(far=everything(far))),
        threading.Thread(target=lambda: found.update(client=everything(client))),
    ]
    for one in work:
        one.start()
    for one in work:
        one.join(30)
    assert found == {"far": hashlib.sha256(data).hexdigest(), "client": hashlib.sha256(data[::-1]).hexdigest()}


def test_half_close_keeps_the_other_direction(relay):
    client, far = Served(relay).connected()
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert far.recv(100) == b"question" and far.recv(100) == b""
    far.sendall(b"answer")
    far.close()
    assert client.recv(100) == b"answer" and client.recv(100) == b""


def test_a_slow_reader_stops_the_sender_and_loses_nothing(relay):
    client, far = Served(relay).connected()
    far.settimeout(0.3)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 1 << 28:
            sent += far.send(b"x" * 65536)
    assert sent < 1 << 26
    threading.Thread(target=far.close).start()
    found = 0
    while data := client.recv(1 << 20):
        found += len(data)
    assert found == sent


@pytest.mark.parametrize("who", ["client", "far"])
def test_a_reset_reaches_the_other_side(relay, who):
    client, far = Served(relay).connected()
    client.sendall(b"x")
    assert far.recv(1) == b"x"
    gone, left = (client, far) if who == "client" else (far, client)
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.close()
    with pytest.raises(ConnectionResetError):
        left.recv(1)


def test_ipv6_goes_to_ipv4_where_the_container_refuses_it(relay):
    served = Served(relay, at="::1", v6="::1")
    client, far = served.connected()
    far.sendall(b"v4")
    assert client.recv(2) == b"v4" and far.family == socket.AF_INET


def test_refused_by_the_container(relay):
    served = Served(relay)
    served.target.close()
    client = socket.create_connection(served.address, 10)
    with contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""


def test_more_connections_at_once_than_an_event_has_turns(relay):
    served = Served(relay)
    pairs = [served.connected() for _ in range(300)]
    for number, (client, _) in enumerate(pairs):
        client.sendall(b"%d" % number)
    by_text = {}
    for _, far in pairs:
        by_text[far.recv(10)] = far
    for number, (client, _) in enumerate(pairs):
        by_text[b"%d" % number].sendall(b"to %d" % number)
        assert client.recv(10) == b"to %d" % number


def test_stop_ends_connections_and_frees_the_port(relay):
    kept, served = Served(relay, "other"), Served(relay)
    stays, ends = kept.connected(), served.connected()
    relay.stop("c")
    served.near.close()
    with contextlib.suppress(ConnectionResetError):
        assert ends[0].recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(served.address, 10)
    stays[0].sendall(b"y")
    assert stays[1].recv(1) == b"y"


def test_the_process_lives_as_long_as_it_has_something_to_serve(relay):
    served = Served(relay)
    pid = relay.pid
    relay.stop("c")
    assert relay.pid == 0 and not os.path.exists(f"/proc/{pid}")
    served.near.close()


def test_the_process_has_no_privileges_and_only_its_sockets(relay):
    served = Served(relay)
    ends = served.connected()
    with open(f"/proc/{relay.pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    assert {name: int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapInh")} == dict.fromkeys(
        ("CapEff", "CapPrm", "CapInh"), 0
    )
    folder = f"/proc/{relay.pid}/fd"
    opened = [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]
    ours = [one for one in opened if not one.startswith(("/dev/", "pipe:", "/tmp"))]
    assert sorted(one.partition(":")[0] for one in ours) == ["anon_inode", *["socket"] * 4], opened
    for one in ends:
        one.close()


def test_a_kernel_that_executes_no_memory(relay, monkeypatch, tmp_path):
    def refused(*_):
        raise OperationFailed("make", "the program composer-relay", errno.EACCES)

    monkeypatch.setattr("engine.net.relay.relay.sealed", refused)
    client, far = Served(relay).connected()
    client.sendall(b"f")
    assert far.recv(1) == b"f" and not os.listdir(tmp_path)


def test_a_killed_process_is_replaced(relay):
    served = Served(relay)
    first = served.connected()
    os.kill(relay.pid, signal.SIGKILL)
    with contextlib.suppress(ConnectionResetError):
        assert first[0].recv(1) == b""
    client, far = served.connected()  # waits in the queue until the next process accepts
    client.sendall(b"again")
    assert far.recv(5) == b"again"


def test_a_process_that_does_not_answer_is_replaced(relay, monkeypatch):
    monkeypatch.setattr("engine.net.relay.relay._PATIENCE", 0.2)
    served, _ = Served(relay), Served(relay, "stopped")
    pid = relay.pid
    os.kill(pid, signal.SIGSTOP)
    relay.stop("stopped")
    assert relay.pid != pid and not os.path.exists(f"/proc/{pid}")
    client, far = served.connected()
    client.sendall(b"z")
    assert far.recv(1) == b"z"


def test_more_sockets_than_one_message_takes(relay):
    near = [bound() for _ in range(600)]
    target = bound()
    target.settimeout(10)
    port = PortBinding(container_port=target.getsockname()[1], protocol="tcp")
    relay.serve("c", [(sock, port) for sock in near], Target("127.0.0.1", ""))
    for sock in (near[0], near[252], near[253], near[599]):
        client = socket.create_connection(sock.getsockname(), 10)
        far, _ = target.accept()
        far.sendall(b"here")
        assert client.recv(4) == b"here"
    for sock in near:
        sock.close()


def test_datagrams_of_each_client_have_a_socket_of_their_own(relay):
    served = Served(relay, kind="udp")
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
    for round_ in range(2):
        senders = set()
        for number, client in enumerate(clients):
            client.settimeout(10)
            client.connect(served.address)
            client.send(b"%d" % number)
            data, peer = served.target.recvfrom(100)
            senders.add(peer)
            served.target.sendto(b"to " + data, peer)
            assert client.recv(100) == b"to %d" % number
        assert len(senders) == 40, round_


def test_a_new_client_takes_the_place_of_the_one_that_is_silent_for_longest(relay):
    served = Served(relay, kind="udp")
    for number in range(1100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect(served.address)
            client.send(b"%d" % number)
            data, peer = served.target.recvfrom(100)
            served.target.sendto(data, peer)
            assert client.recv(100) == b"%d" % number
    assert len(os.listdir(f"/proc/{relay.pid}/fd")) < 1100


def test_a_datagram_is_answered_from_the_address_that_it_came_to(relay):
    """A connected socket accepts no others."""
    served = Served(relay, at="0.0.0.0", kind="udp")
    for address in ("127.0.0.1", "127.0.0.5"):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(10)
        client.connect((address, served.address[1]))
        client.send(b"q")
        data, peer = served.target.recvfrom(100)
        served.target.sendto(data, peer)
        assert client.recv(100) == b"q"


def test_datagrams_over_ipv6_to_ipv4(relay):
    served = Served(relay, at="::", kind="udp")
    client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client.settimeout(10)
    client.connect(("::1", served.address[1]))
    client.send(b"x" * 60000)
    data, peer = served.target.recvfrom(65536)
    served.target.sendto(data[:50000], peer)
    assert len(client.recv(65536)) == 50000
