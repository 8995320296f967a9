"""A host that uses legacy iptables only: rules come back within a second, and nothing opens meanwhile."""

import asyncio
import contextlib
import socket
import subprocess
import time

import pytest

from engine.net import bridge, removal
from engine.net.firewall import iptables, native, netlink, probe
from engine.spec.container import Attachment, PortBinding
from tests.net.conftest import blocked, connected, network, published, reaches, rules
from tests.net.test_enforce import enforced, flush, running
from tests.net.test_wiring import aside, outside  # noqa: F401 (a fixture)


@pytest.fixture(autouse=True)
def legacy(host):
    """The kernel lists legacy tables, although they have no rules."""
    if subprocess.run(["iptables-legacy", "-t", "nat", "-S"], capture_output=True).returncode:
        pytest.skip("this kernel has no legacy tables")
    yield
    assert not rules("iptables-legacy-save") and not rules("ip6tables-legacy-save")


def tables():
    with netlink.Nfnetlink() as kernel:
        return [netlink.name_of(one[1]) for one in kernel.objects(netlink.GETTABLE)]


async def restored(store, records):
    end = time.monotonic() + 1
    while not (whole := await asyncio.to_thread(iptables.is_whole, store.roots, records)) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return whole


@pytest.mark.parametrize("chain", ["", "{}", "COMPOSER-IN", "-t nat", "no nf_tables"])
@running
async def test_rules_come_back_by_themselves(store, spaces, outside, chain, monkeypatch):  # noqa: F811
    a = spaces()
    if chain == "no nf_tables":
        chain = ""
        monkeypatch.setattr(probe, "works", lambda: False)
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with (
        enforced(store) as wiring,
        network(store) as record,
        connected(wiring, a, Attachment(network="n"), ports=ports),
    ):
        assert not probe.native() and rules("iptables-legacy-save") and not rules("iptables-save")
        listener = a.listen(80)
        await asyncio.sleep(0)  # the first look, after which a change is seen
        words = chain.format(f"CMP-{record.id[:12]}").split()
        subprocess.run(
            ["iptables-legacy", *words[:2], "-F"] if words[:1] == ["-t"] else ["iptables-legacy", "-F", *words]
        )
        assert not iptables.is_whole(store.roots, [record])
        assert await restored(store, [record])
        assert await aside(reaches, outside, "203.0.113.1", 8080, listener)


@running
async def test_nothing_is_open_while_rules_are_restored(store, spaces, outside):  # noqa: F811
    """All rules are removed and not restored."""
    inner, web, other = spaces(), spaces(), spaces()
    async with (
        enforced(store) as wiring,
        network(store, "in", internal=True),
        network(store, "n"),
        network(store, "m"),
        connected(wiring, inner, Attachment(network="in")) as ((end,), _),
        connected(wiring, web, Attachment(network="n")) as ((served,), _),
        connected(wiring, other, Attachment(network="m")),
    ):
        web.listen(81)
        service = socket.create_server(("0.0.0.0", 9090))
        gateway = f"{end.ipv4_address.rpartition('.')[0]}.1"
        inner.output("ip", "route", "add", "default", "via", gateway)
        subprocess.run("iptables-legacy -F; iptables-legacy -t nat -F", shell=True, check=True)
        for address, port in ((served.ipv4_address, 81), (gateway, 9090), ("203.0.113.2", 80)):
            assert blocked(inner, address, port), (address, port)
        assert blocked(other, served.ipv4_address, 81) and blocked(outside, served.ipv4_address, 81)
        service.close()


@running
async def test_administrators_chain_comes_first(store, spaces, outside):  # noqa: F811
    a = spaces()
    subprocess.run(
        "iptables-legacy -N COMPOSER-USER; iptables-legacy -A COMPOSER-USER -p tcp --dport 81 -j DROP;"
        "iptables-legacy -A FORWARD -j ACCEPT",
        shell=True, check=True,
    )  # fmt: skip
    async with enforced(store) as wiring, network(store), connected(wiring, a, Attachment(network="n")):
        listener = outside.listen(80)
        outside.listen(81)
        assert await aside(reaches, a, "203.0.113.2", 80, listener)
        assert await aside(blocked, a, "203.0.113.2", 81)
    subprocess.run("iptables-legacy -F; iptables-legacy -X COMPOSER-USER", shell=True, check=True)


@running
async def test_composers_table_stays_in_use(store, monkeypatch):
    """The host had no legacy tables when the network was created; listing them makes the kernel report some."""
    with monkeypatch.context() as patch:
        patch.setattr(probe, "legacy", lambda: False)
        record = await bridge.create(store, bridge.NetworkSpec(name="n"))
    assert probe.legacy() and probe.native() and tables()
    assert bridge.backend.is_whole(store.roots, [record])
    await removal.remove(store, "n")
    assert not tables()


@running
async def test_adding_a_network_again_changes_nothing(store):
    async with network(store, enable_ipv6=True) as record:
        before = rules("iptables-legacy-save")
        assert before and not rules("iptables-save")
        assert probe.chains(4) is None and probe.chains(6) is None
        iptables.add_networks(store.roots, [record])
        assert sorted(rules("iptables-legacy-save")) == sorted(before)


@contextlib.contextmanager
def foreign_table():
    """Another program begins to use nf_tables."""
    with netlink.Nfnetlink() as kernel:
        kernel.do("add", "foreign", [netlink.table("foreign")])
        try:
            yield
        finally:
            kernel.do("delete", "foreign", [netlink.delete_table("foreign")])


@running
async def test_a_table_that_others_add_changes_nothing(store, spaces, outside):  # noqa: F811
    """Networks keep their back end; everything of ours disappears with the last one."""
    a, b = spaces(), spaces()
    async with enforced(store) as wiring, network(store) as first:
        with foreign_table():
            ports = [PortBinding(container_port=80, host_port="8080")]
            async with (
                network(store, "m") as second,
                connected(wiring, a, Attachment(network="n"), ports=ports),
                connected(wiring, b, Attachment(network="m")),
            ):
                assert not probe.native() and not rules("iptables-save") and rules("iptables-legacy-save")
                listener = a.listen(80)
                assert await aside(reaches, outside, "203.0.113.1", 8080, listener)
                await asyncio.sleep(0)  # the first look, after which a change is seen
                subprocess.run(["iptables-legacy", "-F"], check=True)
                assert await restored(store, [first, second]) and not probe.native()
            await removal.remove(store, "n")
            assert not rules("iptables-legacy-save") and probe.native()
            await bridge.create(store, bridge.NetworkSpec(name="n"))
            assert not rules("iptables-legacy-save")


@running
async def test_the_legacy_chains_go_and_nf_tables_is_used(store, spaces):
    """Another program removes our legacy chains while nf_tables is also in use: the rules are restored there."""
    a = spaces()
    ports = [PortBinding(container_port=80, host_port="8080")]
    async with (
        enforced(store) as wiring,
        network(store) as record,
        connected(wiring, a, Attachment(network="n"), ports=ports),
    ):
        with foreign_table():
            await asyncio.sleep(0)
            for program in ("iptables-legacy", "ip6tables-legacy"):
                command = "; ".join(f"{program} {t} -F; {program} {t} -X" for t in ("-t filter", "-t nat"))
                subprocess.run(command, shell=True, check=True)
            assert probe.native()
            for _ in range(2):  # they are restored there, too
                end = time.monotonic() + 2
                while not native.is_whole(store.roots, [record]) and time.monotonic() < end:
                    await asyncio.sleep(0.05)
                assert native.is_whole(store.roots, [record]) and published()
                flush(store, "nft flush table")


@running
async def test_a_flushed_table_comes_back_beside_legacy_tables(store, spaces, monkeypatch):
    """nf_tables was used before the host had legacy tables; the guard shows that when the table itself is gone."""
    a = spaces()
    with monkeypatch.context() as patch:
        patch.setattr(probe, "legacy", lambda: False)
        async with (
            enforced(store) as wiring,
            network(store) as record,
            connected(wiring, a, Attachment(network="n")),
        ):
            patch.undo()
            assert probe.legacy() and probe.native()
            flush(store, "nft flush ruleset")
            assert probe.native()
            end = time.monotonic() + 2
            while not native.is_whole(store.roots, [record]) and time.monotonic() < end:
                await asyncio.sleep(0.05)
            assert native.is_whole(store.roots, [record])
    assert not tables()
