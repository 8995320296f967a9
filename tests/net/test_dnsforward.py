"""External questions: which resolver is asked when, and the cost of a dead one."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from engine.net import dnsforward

QUERY = b"\0\1" + b"\1\0\0\1" + bytes(6) + b"\1a\0\0\1\0\1"


class Resolver(asyncio.DatagramProtocol):
    """Answers with `code` after `delay` seconds; never with a delay of None."""

    def __init__(self, code=0, delay=0.0):
        self.code, self.delay, self.asked = code, delay, 0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        self.asked += 1
        if self.delay is not None:
            answer = data[:2] + bytes((0x81, 0x80 | self.code)) + data[4:]
            asyncio.get_running_loop().call_later(self.delay, self.transport.sendto, answer, peer)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(dnsforward, "PORT", 5300)
    monkeypatch.setattr(dnsforward, "_silent", {})


async def ask(*resolvers):
    """(code of the answer or None, seconds) of two successive questions."""
    loop, found = asyncio.get_running_loop(), []
    async with contextlib.AsyncExitStack() as stack:
        servers = [f"127.0.0.{number}" for number in range(2, 2 + len(resolvers))]
        for server, resolver in zip(servers, resolvers, strict=True):
            transport, _ = await loop.create_datagram_endpoint(lambda one=resolver: one, local_addr=(server, 5300))
            stack.callback(transport.close)
        for _ in range(2):
            began = time.monotonic()
            answer = await dnsforward.ask(servers, QUERY, stream=False)
            found.append((answer and answer[3] & 15, time.monotonic() - began))
    return found


def test_a_dead_resolver_costs_little_and_is_asked_last_then():
    dead, alive = Resolver(delay=None), Resolver()
    (first, took), (second, then) = asyncio.run(ask(dead, alive))
    assert (first, second) == (0, 0) and took < 2 and then < 0.5
    assert (dead.asked, alive.asked) == (1, 2)


def test_a_slow_answer_counts():
    slow, dead = Resolver(delay=1.2), Resolver(delay=None)
    assert [code for code, _ in asyncio.run(ask(slow, dead))] == [0, 0]


def test_refusal_of_one_server_is_not_final():
    refusing, alive = Resolver(code=5), Resolver()
    assert [code for code, _ in asyncio.run(ask(refusing, alive))] == [0, 0]
    assert [code for code, _ in asyncio.run(ask(Resolver(code=5), Resolver(code=2)))] == [5, 5]


def test_refusal_is_not_held_up_by_a_dead_resolver(monkeypatch):
    """Once it is known to be dead."""
    monkeypatch.setattr(dnsforward, "TIMEOUT", 2.0)
    monkeypatch.setattr(dnsforward, "PATIENCE", 0.1)
    (first, _), (second, then) = asyncio.run(ask(Resolver(delay=None), Resolver(code=5)))
    assert (first, second) == (5, 5) and then < 1.5


def test_unanswered_question_fails(monkeypatch):
    monkeypatch.setattr(dnsforward, "TIMEOUT", 0.1)
    assert [code for code, _ in asyncio.run(ask(Resolver(delay=None)))] == [None, None]
    assert asyncio.run(dnsforward.ask(["no-address"], QUERY, stream=False)) is None


@pytest.mark.parametrize("stream", [False, True])
def test_asked_from_another_network(spaces, monkeypatch, stream):
    monkeypatch.setattr(dnsforward, "TIMEOUT", 2)
    space = spaces()
    server = space.listen(5300, "127.0.0.1", socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    server.settimeout(5)

    def serve():
        answer = QUERY[:2] + bytes((0x81, 0x80)) + QUERY[4:]
        if stream:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(len(answer).to_bytes(2, "big") + answer)
        else:
            _, peer = server.recvfrom(100)
            server.sendto(answer, peer)

    async def main(origins):
        return await dnsforward.ask(["127.0.0.1"], QUERY, stream=stream, origins=origins)

    with space.inside():
        origin = socket.socket(type=socket.SOCK_DGRAM)
    with server, origin:
        assert asyncio.run(main({})) is None  # nobody answers in this network
        thread = threading.Thread(target=serve)
        thread.start()
        assert asyncio.run(main({"127.0.0.1": origin}))[:2] == QUERY[:2]
        thread.join()


def test_resolvers_that_only_the_host_reaches():
    assert all(map(dnsforward.is_of_host, ("127.0.0.53", "::1", "fe80::1%lo")))
    assert not any(map(dnsforward.is_of_host, ("203.0.113.1", "2001:db8::1")))
