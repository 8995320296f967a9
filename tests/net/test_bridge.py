import asyncio
import errno
import json
import subprocess

import pytest

from engine import digest
from engine.errors import Conflict, InvalidSpec, OperationFailed, PoolExhausted, Unsupported
from engine.net import bridge, removal
from engine.net.creation import Creations
from engine.net.firewall import iptables, native, netlink, probe
from engine.net.rtnetlink import Rtnetlink
from engine.net.wiring import Wiring
from engine.paths import Roots
from engine.spec import networkoptions
from engine.spec.network import NetworkSpec, Pool
from engine.store import Store
from engine.vocabulary import PREDEFINED_NETWORKS
from tests.net.conftest import apart, links, rows, rules


def create(store, name="n", **fields):
    return asyncio.run(bridge.create(store, NetworkSpec(name=name, **fields)))


def remove(store, name="n"):
    asyncio.run(removal.remove(store, name))


def addresses(link):
    shown = json.loads(subprocess.check_output(["ip", "-j", "addr", "show", link]))[0]
    return {f"{a['local']}/{a['prefixlen']}" for a in shown["addr_info"] if a["scope"] == "global"}


def test_made_and_removed(store):
    record = create(store, pools=(Pool(subnet="10.1.0.0/24"),))
    assert links() == sorted([record.bridge, "lo"]) and record.bridge == f"cmp-{record.id[:11]}"
    assert addresses(record.bridge) == {"10.1.0.1/24"}
    with Rtnetlink() as kernel:
        found = next(link for link in kernel.links() if link.name == record.bridge)
    assert found.kind == "bridge" and found.alias == f"composer:{digest.tag(store.roots.state)}:{record.id[:12]}"
    assert open("/proc/sys/net/ipv4/ip_forward").read() == "1\n"
    assert bridge.get(store, "n") == bridge.get(store, record.id) == record
    remove(store)
    remove(store)
    assert links() == ["lo"] and rules() == [] and not rows(store, "networks") and not rows(store, "subnets")


def test_creating_twice_creates_once(store):
    first = create(store)
    before = rules()
    assert create(store) == first and rules() == before
    with pytest.raises(Conflict, match="network n already exists with a different specification"):
        create(store, internal=True)
    remove(store)


def test_every_transaction_succeeds_at_once(store, monkeypatch):
    """Before the kernel reports that one has failed, it waits for RCU."""
    outcomes = []
    transact = netlink.Nfnetlink.transact
    monkeypatch.setattr(netlink.Nfnetlink, "transact", lambda *of: outcomes.append(transact(*of)) or outcomes[-1])
    create(store, "a")
    create(store, "b")
    assert outcomes and not any(outcomes)
    monkeypatch.undo()
    remove(store, "a")
    remove(store, "b")


def test_ipv6(store):
    record = create(store, enable_ipv6=True, pools=(Pool(subnet="fd00:7::/64"),))
    assert addresses(record.bridge) == {"172.17.0.1/24", "fd00:7::1/64"}
    assert open("/proc/sys/net/ipv6/conf/all/forwarding").read() == "1\n"
    assert any(rule.startswith("masquerade6 ") for rule in rules())
    remove(store)


def test_our_table_goes_with_the_last_network(store):
    create(store, "a", enable_ipv6=True)
    create(store, "b")
    remove(store, "a")
    assert rules() and not [rule for rule in rules() if "6 " in rule.split(" ", 1)[0] + " " and rule[:5] != "table"]
    remove(store, "b")
    assert not rules()


@pytest.mark.parametrize("done", range(4))
def test_a_crash_while_it_is_made(store, done, monkeypatch):
    """After the row, the link, the rules or everything: the next command continues from there."""
    steps = [(bridge, "_make_links"), (native, "add_networks"), (bridge, "_mark_all")]
    if done < 3:

        def crash(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(*steps[done], crash)
        with pytest.raises(KeyboardInterrupt):
            create(store)
        monkeypatch.undo()
    bridge._whole.clear()
    record = create(store)
    assert addresses(record.bridge) == {"172.17.0.1/24"} and native.is_whole(store.roots, [record])
    remove(store)


@pytest.mark.parametrize("step", ["rules", "link"])
def test_a_crash_while_it_is_removed(store, step, monkeypatch):
    create(store)
    target = (native, "remove_networks") if step == "rules" else (removal, "_remove_bridges")

    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(*target, crash)
    with pytest.raises(KeyboardInterrupt):
        remove(store)
    monkeypatch.undo()
    remove(store)
    assert links() == ["lo"] and not rules() and not rows(store, "networks")


def test_a_reboot_takes_the_link_and_the_next_use_makes_it(store):
    record = create(store)
    subprocess.run(["ip", "link", "delete", record.bridge], check=True)
    asyncio.run(bridge.ensure(store.roots, record))
    assert addresses(record.bridge) == {"172.17.0.1/24"}
    remove(store)


def test_network_in_use_is_refused(store):
    create(store)
    with store.transaction() as db:
        db.execute("INSERT INTO containers VALUES ('abc', 'shop-web-1', 'shop', '')")
        db.execute("INSERT INTO addresses VALUES ('n', '172.17.0.2', 'abc')")
    with pytest.raises(Conflict, match="network n is in use by 1 container: shop-web-1"):
        remove(store)
    with store.transaction() as db:
        db.execute("DELETE FROM addresses")
    remove(store)


OPTION = "com.docker.network.bridge.name"


def test_custom_name_and_mtu(store):
    create(store, driver_opts={OPTION: "shop0", "com.docker.network.driver.mtu": "1400"})
    assert links() == ["lo", "shop0"]
    assert json.loads(subprocess.check_output(["ip", "-j", "link", "show", "shop0"]))[0]["mtu"] == 1400
    with pytest.raises(Conflict, match="the bridge shop0 belongs to network n"):
        create(store, "other", driver_opts={OPTION: "shop0"})
    remove(store)


def test_a_bridge_of_the_users_stays(store):
    subprocess.run("ip link add mine type bridge; ip addr add 10.5.0.1/24 dev mine", shell=True, check=True)
    record = create(store, driver_opts={OPTION: "mine"}, pools=(Pool(subnet="10.6.0.0/24"),))
    assert record.adopted and addresses("mine") == {"10.5.0.1/24", "10.6.0.1/24"}
    remove(store)
    assert links() == ["lo", "mine"] and addresses("mine") == {"10.5.0.1/24"}
    subprocess.run(["ip", "link", "delete", "mine"], check=True)


def test_link_that_is_not_a_bridge(store):
    with pytest.raises(InvalidSpec, match="the link lo exists but is not a bridge"):
        create(store, driver_opts={OPTION: "lo"})
    assert not rows(store, "networks")


@pytest.mark.parametrize(
    ("fields", "error", "complaint"),
    [
        ({"driver": "weave"}, Unsupported, "driver 'weave' is not supported"),
        ({"ipam_driver": "dhcp"}, Unsupported, "IPAM driver 'dhcp'"),
        ({"ipam_options": {"a": "b"}}, Unsupported, "no option 'a'"),
        ({"driver_opts": {"foo": "bar"}}, Unsupported, "driver option 'foo'"),
        ({"driver_opts": {"mtu": "big"}}, InvalidSpec, "'big' is not a number of bytes"),
        ({"driver_opts": {networkoptions.ICC: "maybe"}}, InvalidSpec, "not true or false"),
        ({"driver_opts": {OPTION: "a/b"}}, InvalidSpec, "not a link's name"),
        ({"driver_opts": {OPTION: "x" * 16}}, InvalidSpec, "not a link's name"),
        ({"driver_opts": {"com.docker.network.bridge.gateway_mode_ipv4": "other"}}, InvalidSpec, "is not one of nat"),
        (
            {"driver_opts": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}},
            InvalidSpec,
            "internal networks",
        ),
        ({"enable_ipv4": False}, InvalidSpec, "neither IPv4 nor IPv6"),
    ],
)
def test_refused_networks_leave_no_link(store, fields, error, complaint):
    with pytest.raises(error, match=complaint):
        create(store, **fields)
    assert links() == ["lo"] and not rows(store, "networks") and not rules()


@pytest.mark.parametrize("name", PREDEFINED_NETWORKS)
def test_predefined_names(store, name):
    with pytest.raises(Conflict, match="predefined"):
        create(store, name)


def legacy(monkeypatch):
    """A host that has only iptables."""
    monkeypatch.setattr(probe, "native", lambda: False)


def test_without_any_packet_filter(store, monkeypatch):
    legacy(monkeypatch)
    monkeypatch.setattr(iptables, "FOLDERS", ())
    with pytest.raises(OperationFailed, match="apt install iptables"):
        create(store)
    monkeypatch.undo()
    remove(store)


def test_concurrent_creation_and_removal(store):
    async def work():
        names = [f"n{number}" for number in range(12)]
        await asyncio.gather(*(bridge.create(store, NetworkSpec(name=name)) for name in names))
        assert len(links()) == 13
        held = bridge.get(store, "n3")
        assert held is not None
        store.db.execute("INSERT INTO addresses VALUES ('n3', '172.17.3.9', ?)", ("c" * 64,))
        together = removal.Removals(store)
        ends = await asyncio.gather(*(together.remove(name) for name in names), return_exceptions=True)
        assert [type(end) for end in ends if end] == [Conflict] and links() == [held.bridge, "lo"]
        assert native.is_whole(store.roots, [held]) and len(rows(store, "networks")) == 1
        store.db.execute("DELETE FROM addresses")
        await together.remove("n3")

    asyncio.run(work())
    assert links() == ["lo"] and not rules()


def test_concurrent_creation_with_one_failure(store, monkeypatch):
    """Invalid ones, an existing one, the same one twice, one that the kernel refuses."""
    before = create(store, "before")
    specs = [
        *(NetworkSpec(name=f"n{number}") for number in range(6)),
        NetworkSpec(name="n3"),
        NetworkSpec(name="before"),
        NetworkSpec(name="host"),
        NetworkSpec(name="wrong", driver_opts={"nothing": "x"}),
        NetworkSpec(name="overlaps", pools=(Pool(subnet="172.17.0.0/16"),)),
        NetworkSpec(name="refused", pools=(Pool(subnet="10.99.0.0/24"),)),
    ]
    real = bridge._make_links

    def refuse(records):
        if any(record.spec.name == "refused" for record in records):
            raise OperationFailed("create", "refused", errno.EPERM)
        return real(records)

    async def work():
        monkeypatch.setattr(bridge, "_make_links", refuse)
        creations = Creations(store)
        made = await asyncio.gather(*(creations.create(spec) for spec in specs), return_exceptions=True)
        monkeypatch.undo()
        assert len({record.id for record in made[:6]}) == 6 and made[6] == made[3] and made[7] == before
        assert [type(one) for one in made[8:]] == [Conflict, Unsupported, PoolExhausted, OperationFailed]
        assert len({record.pools[0].subnet for record in made[:6]}) == 6
        assert native.is_whole(store.roots, [*made[:6], before])
        for record in made[:6]:
            assert addresses(record.bridge) == {f"{record.pools[0].gateway}/24"}
        together = removal.Removals(store)
        await asyncio.gather(*(together.remove(name) for name in ("before", "refused", *(f"n{n}" for n in range(6)))))

    asyncio.run(work())
    assert links() == ["lo"] and not rules() and not rows(store, "networks")


def test_failed_removal_does_not_block_others(store, monkeypatch):
    real = removal._remove_bridges

    def refuse(records):
        if any(record.spec.name == "n1" for record in records):
            raise OperationFailed("remove link", "n1", errno.EPERM)
        real(records)

    async def work():
        names = [f"n{number}" for number in range(4)]
        await asyncio.gather(*(bridge.create(store, NetworkSpec(name=name)) for name in names))
        monkeypatch.setattr(removal, "_remove_bridges", refuse)
        together = removal.Removals(store)
        ends = await asyncio.gather(*(together.remove(name) for name in names), return_exceptions=True)
        assert [type(end) for end in ends] == [type(None), OperationFailed, type(None), type(None)]
        monkeypatch.undo()
        await together.remove("n1")

    asyncio.run(work())
    assert links() == ["lo"] and not rules()


def test_state_roots_have_separate_bridges(store, tmp_path):
    other = Store(Roots(f"{tmp_path}/s2", f"{tmp_path}/r2"))
    mine, theirs = create(store, "mine"), create(other, "theirs")
    assert mine.pools != theirs.pools
    asyncio.run(Wiring(other).sweep(set()))
    assert mine.bridge in links() and any(mine.id[:12] in rule for rule in rules())
    remove(other, "theirs")
    assert any(mine.id[:12] in rule for rule in rules()) and mine.bridge in links()
    remove(store, "mine")
    other.close()


@pytest.mark.parametrize("flush", ["nft flush ruleset", "nft flush table", "nft delete chain"])
def test_sweep_removes_unowned_and_restores_flushed_rules(store, flush):
    kept, lost = create(store, "kept"), create(store, "lost")
    before = [rule for rule in rules() if kept.id[:12] in rule]
    with store.transaction() as db:
        db.execute("DELETE FROM networks WHERE name = 'lost'")
    asyncio.run(Wiring(store).sweep(set()))
    assert lost.bridge not in links() and not [rule for rule in rules() if lost.id[:12] in rule]
    undo(flush, store)
    assert not native.is_whole(store.roots, [kept])
    asyncio.run(Wiring(store).sweep(set()))
    assert [rule for rule in rules() if kept.id[:12] in rule] == before and native.is_whole(store.roots, [kept])
    remove(store, "kept")


def undo(how, store):
    """The effect of these nft(8) commands."""
    name = native.table(store.roots)
    rule = netlink.message(netlink.DELRULE, netlink.text(1, name))
    done = {
        "nft flush ruleset": [netlink.delete_table(name)],
        "nft flush table": [rule],
        "nft delete chain": [
            netlink.message(netlink.DELRULE, netlink.text(1, name) + netlink.text(2, "input")),
            netlink.message(netlink.DELCHAIN, netlink.text(1, name) + netlink.text(3, "input")),
        ],
    }
    with netlink.Nfnetlink() as kernel:
        kernel.do(how, name, done[how])


def test_no_program_is_run(store, monkeypatch):
    subprocess.run("iptables -N MINE; iptables -A FORWARD -j MINE", shell=True, check=True)
    monkeypatch.setattr(iptables, "_run", None)
    asyncio.run(Wiring(store).sweep(set()))
    create(store)
    remove(store)


@pytest.mark.parametrize("version", [4, 6])
def test_hooks_are_recognised_as_the_kernel_prints_them(store, version, monkeypatch):
    legacy(monkeypatch)
    create(store, "a", enable_ipv6=True)
    create(store, "b", enable_ipv6=True)
    tool = "iptables-save" if version == 4 else "ip6tables-save"
    saved = {line[1:].split()[0] for line in subprocess.check_output([tool], text=True).splitlines() if line[0] == ":"}
    assert {name for name in saved if name.startswith(("COMPOSER-", "CMP-"))} <= probe.chains(version)
    jumps = [rule for rule in rules(tool) if rule.split()[-1].startswith("COMPOSER")]
    assert len(jumps) == len(set(jumps)) == 8
    assert iptables.is_whole(store.roots, bridge.every(store))
    remove(store, "a")
    remove(store, "b")


def test_network_namespaces_are_independent(store):
    record = create(store)
    with apart():
        assert links() == ["lo"]
    assert record.bridge in links()
    remove(store)
