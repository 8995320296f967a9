"""Datagram sockets beside an event loop."""

import asyncio
import socket
import threading

import pytest

from engine.net.datagrams import Datagrams


@pytest.fixture
def opened():
    """Creates a non-blocking bound socket, and one that is connected to it."""
    found = []

    def make():
        served, asker = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        found.extend((served, asker))
        served.bind(("127.0.0.1", 0))
        served.setblocking(False)
        asker.connect(served.getsockname())
        asker.settimeout(10)
        return served, asker

    yield make
    for sock in found:
        sock.close()


def test_each_socket_is_answered(opened):
    async def main():
        datagrams = Datagrams()
        pairs = [opened() for _ in range(3)]
        for number, (served, _) in enumerate(pairs):
            datagrams.add(
                served, lambda data, peer, served=served, number=number: served.sendto(b"%d %s" % (number, data), peer)
            )
        for _ in range(2):
            for number, (_, asker) in enumerate(pairs):
                asker.send(b"asked")
                assert await asyncio.to_thread(asker.recv, 100) == b"%d asked" % number
        for served, _ in pairs:
            datagrams.remove(served)

    asyncio.run(main())


def test_an_answer_may_remove_its_socket_and_another(opened):
    async def main():
        datagrams = Datagrams()
        (first, one), (second, two) = opened(), opened()
        gone = asyncio.Event()

        def leave(data, peer):
            datagrams.remove(first)
            datagrams.remove(second)
            gone.set()

        datagrams.add(first, leave)
        datagrams.add(second, leave)
        one.send(b"asked")
        two.send(b"asked")
        await gone.wait()
        datagrams.add(first, lambda data, peer: first.sendto(b"again", peer))
        one.send(b"asked")
        assert await asyncio.to_thread(one.recv, 100) == b"again"
        datagrams.remove(first)

    asyncio.run(main())


def test_a_flood_leaves_the_loop_its_turn(opened):
    async def main():
        datagrams = Datagrams()
        served, asker = opened()
        answered, over = [], threading.Event()
        datagrams.add(served, lambda data, peer: answered.append(data))

        def flood():
            while not over.is_set():
                asker.send(b"flood")

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            while not answered:
                await asyncio.sleep(0)
            for _ in range(50):
                await asyncio.sleep(0)
        finally:
            over.set()
            thread.join()
            datagrams.remove(served)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_unreachable_peer_does_not_end_the_server(opened):
    async def main():
        datagrams = Datagrams()
        served, asker = opened()
        datagrams.add(served, lambda data, peer: served.sendto(data, peer))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.connect(served.getsockname())
            gone.send(b"asked")
        await asyncio.sleep(0)
        asker.send(b"asked")
        assert await asyncio.to_thread(asker.recv, 100) == b"asked"
        datagrams.remove(served)

    asyncio.run(main())
