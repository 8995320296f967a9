"""Names of containers: those of the own group in memory, those of others in the database."""

import asyncio
import contextlib
import socket

import msgspec
import pytest

from engine.net import dns, dnsforward
from engine.net import endpoint as net_endpoint
from engine.net.dns import Server
from engine.net.names import Names
from engine.net.neighbours import Neighbours
from engine.paths import Roots
from engine.spec.container import Attachment, ContainerSpec
from engine.spec.state import Endpoint
from engine.store import Store


def endpoint(network, address, *aliases):
    return Endpoint(network=network, ipv4_address=address, ipv4_prefix=24, aliases=aliases)


@pytest.fixture
def store(tmp_path):
    store = Store(Roots(str(tmp_path / "s"), str(tmp_path / "r")))
    yield store
    store.close()


def other(store, tmp_path, container_id, name, network, address, *aliases, hostname=""):
    """A running container of another group."""
    spec = ContainerSpec(
        name=name, image="a", hostname=hostname, networks=(Attachment(network=network, aliases=aliases),)
    )
    folder = tmp_path / "s" / "groups" / "theirs" / container_id
    folder.mkdir(parents=True)
    (folder / "spec.json").write_bytes(msgspec.json.encode(spec))
    with store.transaction() as db:
        db.execute("INSERT OR IGNORE INTO networks VALUES (?, ?, '', '{}')", (network, network))
        db.execute("INSERT INTO containers VALUES (?, ?, 'theirs', '')", (container_id, name))
        db.execute("INSERT INTO addresses VALUES (?, ?, ?)", (network, address, container_id))


def test_the_first_network_that_knows_the_name_answers():
    """With Docker, a service on two common networks has one address, as one that is on the second only."""
    names = Names()
    names.publish("asker", ["asker"], [endpoint("front", "10.0.1.9"), endpoint("back", "10.0.2.9")])
    names.publish("db", ["db"], [endpoint("back", "10.0.2.2"), endpoint("front", "10.0.1.2")])
    names.publish("db2", ["db"], [endpoint("front", "10.0.1.3")])
    names.publish("queue", ["queue"], [endpoint("back", "10.0.2.4")])
    assert sorted(names.lookup("asker", "db")) == ["10.0.1.2", "10.0.1.3"]
    assert names.lookup("asker", "db.back") == ["10.0.2.2"]
    assert names.lookup("asker", "queue") == ["10.0.2.4"]


def test_networks_that_lead_outside_are_asked_first():
    inner = Endpoint(network="a", ipv4_address="10.0.1.2")
    outer = Endpoint(network="b", ipv4_address="10.0.2.2", ipv4_gateway="10.0.2.1")
    wanted = Endpoint(network="c", ipv4_address="10.0.3.2", ipv4_gateway="10.0.3.1")
    resolver_order = net_endpoint.resolver_order([inner, outer, wanted], [Attachment(network="c", gw_priority=1)])
    assert [one.network for one in resolver_order] == ["c", "b", "a"]


def test_links_apply_to_one_container():
    names = Names()
    names.publish("db", ["p-db-1"], [endpoint("n", "10.0.0.2", "db")])
    names.publish("web", ["p-web-1"], [endpoint("n", "10.0.0.3", "web")], [("db", "Database"), ("p-db-1", "main")])
    assert names.lookup("web", "database") == names.lookup("web", "main") == ["10.0.0.2"]
    assert names.lookup("db", "database") is None
    names.publish("web", ["p-web-1"], [endpoint("n", "10.0.0.3")])
    assert names.lookup("web", "database") is None


def test_other_groups_on_a_common_network(store, tmp_path):
    names = Names(Neighbours(store, "ours"))
    names.publish("proxy", ["ours-proxy-1"], [endpoint("shared", "10.0.0.2", "proxy")])
    assert names.lookup("proxy", "app") is None
    other(store, tmp_path, "a" * 64, "theirs-app-1", "shared", "10.0.0.3", "App", hostname="box")
    other(store, tmp_path, "b" * 64, "theirs-db-1", "apart", "10.1.0.3", "db")
    for name in ("app", "theirs-app-1", "a" * 12, "box", "app.shared"):
        assert names.lookup("proxy", name) == ["10.0.0.3"], name
    assert names.lookup("proxy", "db") is None
    assert names.reverse("proxy", "10.0.0.3") == "theirs-app-1.shared"
    assert names.reverse("proxy", "10.1.0.3") is None


def test_ones_own_group_answers_before_others(store, tmp_path):
    names = Names(Neighbours(store, "ours"))
    names.publish("web", ["ours-web-1"], [endpoint("shared", "10.0.0.2", "web")])
    other(store, tmp_path, "a" * 64, "theirs-web-1", "shared", "10.0.0.3", "web")
    assert names.lookup("web", "web") == ["10.0.0.2"]
    names.publish("app", ["ours-app-1"], [endpoint("shared", "10.0.0.4", "app")])
    names.withdraw("web")
    assert names.lookup("app", "web") == ["10.0.0.3"]


def test_a_container_that_is_just_being_removed(store, tmp_path):
    names = Names(Neighbours(store, "ours"))
    names.publish("web", ["ours-web-1"], [endpoint("shared", "10.0.0.2", "web")])
    other(store, tmp_path, "a" * 64, "theirs-app-1", "shared", "10.0.0.3", "app")
    (tmp_path / "s" / "groups" / "theirs" / ("a" * 64) / "spec.json").unlink()
    assert names.lookup("web", "app") is None


def test_a_remembered_answer_ends_with_the_name():
    names = Names()
    server = Server(names)
    question = b"\1\0\0\1" + bytes(6) + b"\1b\0" + b"\0\1\0\1"
    names.publish("a", ["a"], [endpoint("n", "10.0.0.2")])
    names.publish("b", ["b"], [endpoint("n", "10.0.0.3")])
    for number in (b"\0\1", b"\0\2"):
        answer = server.local("a", number + question)
        assert answer[:2] == number and answer[-4:] == b"\x0a\0\0\3"
    assert server.local("a", b"\0\3" + question[:-4] + b"\0\x1c\0\1")[6:8] == b"\0\0"  # no IPv6 address: no data
    names.publish("c", ["b"], [endpoint("n", "10.0.0.4")])
    firsts = {server.local("a", b"\0\3" + question)[-4:] for _ in range(50)}
    assert firsts == {b"\x0a\0\0\3", b"\x0a\0\0\4"}
    names.withdraw("b")
    names.withdraw("c")
    assert server.local("a", b"\0\4" + question) is None


def test_other_records_of_an_alias_with_a_dot_come_from_outside():
    names = Names()
    server = Server(names)
    names.publish("a", ["a"], [endpoint("n", "10.0.0.2", "mail.example")])
    alias, name = b"\4mail\7example\0", b"\1a\0"
    head = b"\0\1\1\0\0\1" + bytes(6)
    for kind, outside in ((1, False), (28, False), (15, False), (255, False), (16, True), (33, True), (65, True)):
        question = kind.to_bytes(2, "big") + b"\0\1"
        assert (server.local("a", head + alias + question) is None) is outside
        assert server.local("a", head + name + question) is not None


def test_question_limit_per_container(monkeypatch):
    """It queries names from a silent resolver as often as it can."""

    async def silent(*_args, **_fields):
        await asyncio.Event().wait()

    monkeypatch.setattr(dnsforward, "ask", silent)
    question = b"\1\0\0\1" + bytes(6) + b"\7example\3com\0" + b"\0\1\0\1"

    async def refused(server, container_id, count):
        """The number of refused questions among `count`."""
        asker = askers[container_id]
        for number in range(count):
            asker.send(number.to_bytes(2, "big") + question)
            await asyncio.sleep(0)
        found = 0
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.2):
                    answer = await asyncio.get_running_loop().sock_recv(asker, 512)
                assert answer[3] & 15 == 5
                found += 1
        return found

    async def main():
        names = Names()
        server = Server(names)
        for number, container_id in enumerate(("hostile", "other")):
            udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            udp.bind(("127.0.0.1", 0))
            tcp.listen()
            asker = askers[container_id] = socket.socket(type=socket.SOCK_DGRAM)
            asker.connect(udp.getsockname())
            asker.setblocking(False)
            gateway = Endpoint(
                network="n", ipv4_address=f"10.0.0.{number + 2}", ipv4_gateway="10.0.0.1", ipv4_prefix=24
            )
            names.publish(container_id, [container_id], [gateway])
            server.serve(container_id, udp.detach(), tcp.detach(), ["192.0.2.1"])
        assert await refused(server, "hostile", 200) == 200 - dns.MAX_FORWARDED_BY_ONE
        assert await refused(server, "other", 20) == 0
        server.close()
        for asker in askers.values():
            asker.close()

    askers = {}
    asyncio.run(main())


def test_a_container_that_is_being_stopped():
    """New connections go to its siblings; the last container remains resolvable until it has exited."""
    names = Names()
    names.publish("asker", ["asker"], [endpoint("n", "10.0.0.9", "app")])
    names.publish("one", ["one"], [endpoint("n", "10.0.0.2", "app")])
    names.publish("two", ["two"], [endpoint("n", "10.0.0.3", "app")])
    names.withdraw("asker")
    names.publish("asker", ["asker"], [endpoint("n", "10.0.0.9")])
    generation = names.generation
    names.retire("one")
    assert names.generation != generation
    assert names.lookup("asker", "app") == ["10.0.0.3"]
    assert names.lookup("asker", "one") == ["10.0.0.2"] and names.lookup("one", "asker") == ["10.0.0.9"]
    names.retire("two")
    assert names.lookup("asker", "app") == ["10.0.0.3"]
    names.withdraw("one")
    names.withdraw("two")
    assert names.lookup("asker", "app") is None and names.lookup("asker", "one") is None
    names.publish("one", ["one"], [endpoint("n", "10.0.0.2", "app")])
    assert names.lookup("asker", "app") == ["10.0.0.2"]
