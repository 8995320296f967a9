"""We switch forwarding on: only for our networks, while one of them needs it, and then restore the host's setting."""

import contextlib
import subprocess

import pytest

from engine.net import bridge, removal
from engine.net.firewall import forwarding, native, netlink
from engine.paths import Roots
from engine.spec.container import Attachment
from engine.spec.network import NetworkSpec
from engine.store import Store
from tests.net.conftest import blocked, connected, network, reaches
from tests.net.test_enforce import enforced, running
from tests.net.test_wiring import outside  # noqa: F401 (a fixture)


def setting(name, value=None):
    """Read or, with a value, write a setting of /proc/sys/net."""
    with open(f"/proc/sys/net/{name}", "r+") as file:
        found = file.read().strip()
        if value is not None:
            file.seek(0)
            file.write(value)
    return found


@pytest.fixture
def off(host):
    for version in forwarding.SETTINGS.values():
        setting(version.removeprefix("/proc/sys/net/"), "0")


@pytest.fixture
def second(tmp_path):
    store = Store(Roots(f"{tmp_path}/s2", f"{tmp_path}/r2"))
    yield store
    store.close()


def names():
    return subprocess.check_output(["ip", "link", "show", "lo"], text=True).split("altname")[1:]


@pytest.fixture
def neighbours(spaces, outside):  # noqa: F811
    """Two machines on different links of the host that could reach each other through it: (one machine, the other's
    address)."""
    second = spaces()
    script = (
        "ip link add second type veth peer name eth0 netns {0} && ip link set second up && "
        "ip addr add 198.51.100.1/24 dev second && ip addr add fd01::1/64 dev second nodad && "
        "ip addr add fd02::1/64 dev outside nodad"
    )
    subprocess.run(script.format(second.pid), shell=True, check=True)
    for space, command in (
        (second, "ip link set eth0 up"),
        (second, "ip addr add 198.51.100.2/24 dev eth0"),
        (second, "ip addr add fd01::2/64 dev eth0 nodad"),
        (second, "ip route add default via 198.51.100.1"),
        (second, "ip route add default via fd01::1"),
        (outside, "ip route add 198.51.100.0/24 via 203.0.113.1"),
        (outside, "ip addr add fd02::2/64 dev eth0 nodad"),
        (outside, "ip route add fd01::/64 via fd02::1"),
    ):
        assert space.output(*command.split()) == ""
    yield second, "203.0.113.2", "fd02::2"
    subprocess.run(["ip", "link", "delete", "second"], check=True)


@running
async def test_the_host_does_not_route_for_others(store, spaces, outside, off, neighbours):  # noqa: F811
    """A machine on one link of the host cannot reach another link through it if the host did not forward before; not
    even just after a flush."""
    second, address, _ = neighbours
    a, listener = spaces(), outside.listen(80)
    async with enforced(store) as wiring, network(store), connected(wiring, a, Attachment(network="n")):
        assert blocked(second, address, 80)
        assert reaches(a, address, 80, listener)
        with netlink.Nfnetlink() as kernel:
            kernel.do("flush", "table", [netlink.delete_table(native.table(store.roots))])
        assert blocked(second, address, 80)
    assert setting("ipv4/ip_forward") == "0"


@running
async def test_earlier_forwarding_is_kept(store, spaces, outside, off, neighbours):  # noqa: F811
    second, v4, v6 = neighbours
    setting("ipv4/ip_forward", "1")
    server = outside.listen(80, "::")
    a = spaces()
    async with (
        enforced(store) as wiring,
        network(store, enable_ipv6=True) as record,
        connected(wiring, a, Attachment(network="n")),
    ):
        assert reaches(second, v4, 80) and blocked(second, v6, 80)
        assert native.is_whole(store.roots, [record])
    assert (setting("ipv4/ip_forward"), setting("ipv6/conf/all/forwarding")) == ("1", "0")
    server.close()


@pytest.mark.parametrize("leaving", ["first", "second"])
@running
async def test_the_last_state_root_restores(store, second, outside, spaces, off, neighbours, leaving):  # noqa: F811
    """Whichever of two leaves first, the other's containers still reach the outside, and the host does not route for
    others."""
    other, address, _ = neighbours
    listener, a = outside.listen(80), spaces()
    setting("ipv6/conf/outside/accept_ra", "1")
    stores = (store, second) if leaving == "second" else (second, store)
    stack = contextlib.AsyncExitStack()
    for one in (store, second):
        await bridge.create(one, NetworkSpec(name="n", enable_ipv6=True))
    async with stack:
        stays, leaves = stores
        wiring = await stack.enter_async_context(enforced(stays))
        await stack.enter_async_context(connected(wiring, a, Attachment(network="n")))
        assert setting("ipv6/conf/outside/accept_ra") == "2"
        await removal.remove(leaves, "n")
        assert reaches(a, address, 80, listener) and blocked(other, address, 80)
        assert setting("ipv6/conf/all/forwarding") == "1" and len(names()) == 5
    await removal.remove(stays, "n")
    assert (setting("ipv4/ip_forward"), setting("ipv6/conf/all/forwarding")) == ("0", "0")
    assert setting("ipv6/conf/outside/accept_ra") == "1" and names() == []


@running
async def test_a_removal_that_was_interrupted(store, off, monkeypatch):
    """Killed after the last network's row had gone: the next sweep switches forwarding off."""

    def killed(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(forwarding, "release", killed)
        async with network(store):
            pass
    assert setting("ipv4/ip_forward") == "1"
    await bridge.sweep(store, lambda: (), {})
    assert setting("ipv4/ip_forward") == "0" and names() == []


@running
async def test_forwarding_that_was_on_stays_on(store, second):
    setting("ipv4/ip_forward", "1")
    async with network(store), network(second):
        pass
    assert setting("ipv4/ip_forward") == "1" and names() == []


@running
async def test_an_internal_network_needs_no_forwarding(store, off):
    async with network(store, internal=True):
        assert setting("ipv4/ip_forward") == "0" and names() == []
