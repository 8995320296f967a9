"""Published ports are held without descriptors."""

import os
import socket

import pytest

from engine.net import ports
from engine.spec.container import PortBinding
from engine.store import Store

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@pytest.fixture
def store(roots):
    made = Store(roots)
    made.db.execute("SELECT 1")  # opens its files
    return made


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def refused(kind, address, port):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, KINDS[kind]) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind((address, port))
        except OSError:
            return True
        return False


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_many_ports_take_one_descriptor(store, kind):
    wanted = [PortBinding(container_port=port, host_port=str(port), protocol=kind) for port in range(21000, 22000)]
    before = descriptors()
    held = ports.reserve(store, "c" * 64, wanted, by_rules=True)
    assert descriptors() - before <= 2 and held.sockets == []
    for port in (21000, 21252, 21253, 21999):
        assert all(refused(kind, address, port) for address in ("0.0.0.0", "::", "127.0.0.1", "::1"))
    held.close()
    assert descriptors() <= before  # the collector may close those of earlier tests
    assert not refused(kind, "0.0.0.0", 21000) and not refused(kind, "::", 21999)


def test_a_free_port_is_free_for_both_versions(store):
    wanted = [PortBinding(container_port=80, host_port="0", protocol="tcp")]
    held = ports.reserve(store, "c" * 64, wanted, by_rules=True)
    number = int(held.bindings[0].host_port)
    assert number and refused("tcp", "0.0.0.0", number) and refused("tcp", "::", number)
    held.close()


def test_a_held_port_takes_no_packets(store):
    """Until flushed rules are restored, a client waits instead of being refused, and no queue fills."""
    wanted = [PortBinding(container_port=1, host_port="22001", protocol="udp", host_ip="127.0.0.1")]
    held = ports.reserve(store, "c" * 64, wanted, by_rules=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", 22001))
        for _ in range(3):
            sock.send(bytes(60000))
    with open("/proc/net/udp", encoding="ascii") as file:
        line = next(line.split() for line in file if line.split()[1].endswith(f":{22001:04X}"))
    assert line[4].endswith(":00000000")
    held.close()
