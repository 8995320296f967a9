"""networks.toml: where ports are published, the MTU, the pools."""

import contextlib
import subprocess
from socket import AF_INET, SOCK_DGRAM, SOCK_STREAM, socket

import pytest

from engine.errors import InvalidSpec
from engine.net import bridge, ports, preferences
from engine.net.rtnetlink import Rtnetlink
from engine.spec.container import Attachment, PortBinding
from tests.net.conftest import connected, network, published, reaches
from tests.net.test_wiring import aside, interfaces, outside, running  # noqa: F401 (a fixture)


@pytest.fixture
def say(tmp_path, monkeypatch):
    def write(text):
        (tmp_path / "networks.toml").write_text(text)
        monkeypatch.setenv("COMPOSER_NETWORKS", str(tmp_path / "networks.toml"))

    return write


@pytest.fixture
def uplink():
    """A default route through the test's own link; the argument sets its MTU."""

    def make(mtu):
        for words in (
            f"link add outside mtu {mtu} type veth peer name outside2",
            "addr add 203.0.113.1/24 dev outside",
            "link set outside up",
            "route add default via 203.0.113.2",
        ):
            subprocess.run(["ip", *words.split()], check=True)

    yield make
    subprocess.run(["ip", "link", "del", "outside"], check=False)


def test_publish_addresses(say):
    plain, own = PortBinding(container_port=80, host_port="80"), PortBinding(container_port=81, host_ip="0.0.0.0")
    assert [port.host_ip for port in ports.placed([plain, own], None)] == ["", "0.0.0.0"]
    say('publish = ["127.0.0.1", "::1"]')
    assert [port.host_ip for port in ports.placed([plain, own], None)] == ["127.0.0.1", "::1", "0.0.0.0"]


@running
async def test_pools(store, say):
    say('pools = [{base = "10.99.0.0/23", size = 24}, {base = "10.98.0.0/16", size = 20}]')
    async with network(store, "a"), network(store, "b"), network(store, "c"):
        found = [bridge.get(store, name).pools[0].subnet for name in "abc"]
    assert found == ["10.99.0.0/24", "10.99.1.0/24", "10.98.0.0/20"]


@pytest.mark.parametrize(
    ("uplink_mtu", "text", "mtu"), [(1400, "", 1400), (9000, "", 1500), (1400, "mtu = 1300", 1300)]
)
@running
async def test_the_mtu(store, wiring, spaces, say, uplink, uplink_mtu, text, mtu):
    uplink(uplink_mtu)
    say(text)
    a = spaces()
    async with network(store), connected(wiring, a, Attachment(network="n")):
        assert interfaces(a)["eth0"]["mtu"] == mtu
        with Rtnetlink() as kernel:
            assert kernel.mtu(bridge.get(store, "n").bridge) == mtu


def test_the_users_keys_win(tmp_path, monkeypatch):
    monkeypatch.setattr(preferences, "_paths", lambda environ: (f"{tmp_path}/1", f"{tmp_path}/none", f"{tmp_path}/2"))
    (tmp_path / "1").write_text('mtu = 1300\npublish = ["127.0.0.1"]')
    (tmp_path / "2").write_text("mtu = 1400")
    assert preferences.read() == preferences.Preferences(mtu=1400, publish=("127.0.0.1",))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mtu = 20", "68 to 65535"),
        ("mtu = true", "Expected `int`"),
        ('publish = ["localhost"]', "localhost"),
        ('pools = [{base = "10.0.0.1/8", size = 24}]', "host bits"),
        ('pools = [{base = "10.0.0.0/8", size = 4}]', "cannot be divided"),
        ("pool = []", "pool"),
        ('ports_opened_by = "ufw"', "Invalid enum value 'ufw'"),
        ("mtu", "networks.toml"),
    ],
)
def test_invalid_settings_are_refused(say, text, complaint):
    say(text)
    with pytest.raises(InvalidSpec, match=complaint):
        preferences.read()


@pytest.mark.parametrize("kind", ["tcp", "udp"])
@running
async def test_the_hosts_firewall_opens_ports(store, wiring, spaces, say, outside, kind):  # noqa: F811
    """They are reachable if the host's INPUT chain accepts the host's port."""
    say('ports_opened_by = "firewall"')
    a = spaces()
    ports = [PortBinding(container_port=80, host_port="8080", protocol=kind)]
    subprocess.run(["iptables", "-P", "INPUT", "DROP"], check=True)
    async with network(store), connected(wiring, a, Attachment(network="n"), ports=ports):
        listener = a.listen(80, kind=SOCK_STREAM if kind == "tcp" else SOCK_DGRAM)

        def arrives():
            if kind == "tcp":
                return bool(reaches(outside, "203.0.113.1", 8080, listener, 0.3))
            with outside.inside(), socket(AF_INET, SOCK_DGRAM) as sock:
                sock.sendto(b"x", ("203.0.113.1", 8080))
            listener.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                return listener.recv(10) == b"x"
            return False

        assert not await aside(arrives) and published() == []
        subprocess.run(["iptables", "-A", "INPUT", "-p", kind, "--dport", "8080", "-j", "ACCEPT"], check=True)
        subprocess.run(["iptables", "-A", "INPUT", "-m", "state", "--state", "ESTABLISHED", "-j", "ACCEPT"], check=True)
        assert await aside(arrives)
