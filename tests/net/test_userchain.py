"""COMPOSER-USER: the administrator's rules apply before anything accepts, whichever other rules exist."""

import asyncio
import subprocess

import pytest

from engine.net.firewall import netlink
from engine.spec.container import Attachment, PortBinding
from tests.net.conftest import blocked, connected, network, reaches
from tests.net.test_enforce import enforced, running
from tests.net.test_wiring import aside, outside  # noqa: F401 (a fixture)

IPTABLES = "iptables -N COMPOSER-USER; iptables -A COMPOSER-USER -p tcp --dport 81 -j DROP"
BESIDE = {
    "alone": "",
    "policy DROP": "iptables -P FORWARD DROP",
    "Docker": "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER; "
    "iptables -N DOCKER-FORWARD; iptables -A FORWARD -j DOCKER-FORWARD; iptables -A DOCKER-FORWARD -j ACCEPT",
}


def sh(script):
    subprocess.run(script, shell=True, check=True)


def forward():
    """The rules of iptables' FORWARD."""
    return subprocess.check_output(["iptables", "-S", "FORWARD"], text=True).splitlines()[1:]


async def asked(a, outside):  # noqa: F811
    """Whether only what the administrator drops is dropped."""
    listener = outside.listen(80)
    outside.listen(81)
    assert await aside(reaches, a, "203.0.113.2", 80, listener)
    return await aside(blocked, a, "203.0.113.2", 81)


@pytest.mark.parametrize("beside", BESIDE)
@running
async def test_user_chain_runs_first(store, spaces, outside, beside):  # noqa: F811
    a = spaces()
    sh(f"{BESIDE[beside]}\n{IPTABLES}")
    async with enforced(store) as wiring, network(store), connected(wiring, a, Attachment(network="n")):
        assert await asked(a, outside)
        assert "-A FORWARD -j COMPOSER-USER" in forward()[:2]
    assert not any("COMPOSER-USER" in line for line in forward())  # and it can be removed
    sh("iptables -F COMPOSER-USER; iptables -X COMPOSER-USER")


@running
async def test_user_chain_created_later(store, spaces, outside):  # noqa: F811
    """At once, and again after FORWARD was flushed, or another engine put its own rules first."""
    a = spaces()
    async with enforced(store) as wiring, network(store), connected(wiring, a, Attachment(network="n")):
        sh(IPTABLES)
        for change in ("true", "iptables -F FORWARD", "iptables -I FORWARD -j ACCEPT"):
            sh(change)
            for _ in range(100):
                if forward() and forward()[0] == "-A FORWARD -j COMPOSER-USER":
                    break
                await asyncio.sleep(0.01)
            assert forward()[0] == "-A FORWARD -j COMPOSER-USER", change
            assert len([line for line in forward() if "COMPOSER-USER" in line]) == 1
        assert await asked(a, outside)
    sh("iptables -F; iptables -X COMPOSER-USER")


@running
async def test_user_chain_filters_published_ports(store, spaces, outside):  # noqa: F811
    """By the host's port (from conntrack), for one client."""
    a = spaces()
    ports = [PortBinding(container_port=80, host_port=port) for port in ("8080", "8081")]
    sh("iptables -N COMPOSER-USER")
    match = "-s 203.0.113.2 -p tcp -m conntrack --ctorigdstport 8081 --ctdir ORIGINAL"
    sh(f"iptables -A COMPOSER-USER {match} -j DROP")
    async with (
        enforced(store) as wiring,
        network(store),
        connected(wiring, a, Attachment(network="n"), ports=ports),
    ):
        listener = a.listen(80)
        assert await aside(reaches, outside, "203.0.113.1", 8080, listener)
        assert await aside(blocked, outside, "203.0.113.1", 8081)
    sh("iptables -F; iptables -X COMPOSER-USER")


@pytest.mark.parametrize("base", [True, False])
@running
async def test_user_chain_in_nftables(store, spaces, outside, base):  # noqa: F811
    """Without iptables: in the administrator's own table, with or without a chain for forwarded packets."""
    a, name = spaces(), "admin"
    port = netlink.payload(2, 2, 2) + netlink.compare((81).to_bytes(2, "big"))
    made = [netlink.table(name), netlink.chain(name, "COMPOSER-USER")]
    made.append(netlink.rule(name, "COMPOSER-USER", port + netlink.verdict(netlink.DROP)))
    if base:
        made.append(netlink.chain(name, "fw", "filter", netlink.FORWARD))
        made.append(netlink.rule(name, "fw", netlink.verdict(netlink.ACCEPT)))
    with netlink.Nfnetlink() as kernel:
        kernel.do("make", name, made)
        async with enforced(store) as wiring, network(store), connected(wiring, a, Attachment(network="n")):
            assert await asked(a, outside)
        chains = {netlink.name_of(one[3]) for one in kernel.objects(netlink.GETCHAIN)}
        assert chains == ({"COMPOSER-USER", "fw"} if base else {"COMPOSER-USER"})
        kernel.do("remove", name, [netlink.delete_table(name)])
