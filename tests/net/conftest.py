"""Each test has a network namespace that represents the host's, and a state root; nothing may be left in either."""

import contextlib
import ctypes
import ipaddress
import os
import socket
import subprocess

import pytest

from engine.kernel import calls, flags
from engine.net import bridge, removal, rtnetlink
from engine.net.firewall import netlink, ruleset
from engine.net.wiring import Wiring
from engine.paths import Roots
from engine.spec.network import NetworkSpec
from engine.store import Store

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def apart():
    """A fresh network namespace for this thread and its children."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    calls.unshare(flags.CLONE["net"])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        yield
    finally:
        calls.setns(home, flags.CLONE["net"])
        os.close(home)


def links():
    with rtnetlink.Rtnetlink() as kernel:
        return sorted(link.name for link in kernel.links())


def rules(tool=""):
    """Everything of ours: elements of our tables as "<set> <key> <value> <comment>", and rules and chains as `tool`
    (iptables-save or a variant) prints them."""
    found = []
    with netlink.Nfnetlink() as kernel:
        for table in (netlink.name_of(one[1]) for one in kernel.objects(netlink.GETTABLE)):
            if table.startswith("composer-") and "-guard-" not in table and not tool:
                found.append(f"table {table}")
                for name in (*ruleset.NETWORK_SETS, *ruleset.PORT_SETS):
                    for one in kernel.elements(table, name):
                        found.append(f"{name} {one.key.hex()} {one.data.hex()} {one.comment}")
    for program in (tool,) if tool else ("iptables-save", "ip6tables-save"):
        lines = subprocess.check_output([program], text=True).splitlines()
        found += [line for line in lines if "COMPOSER" in line or "CMP-" in line or "cmp-" in line]
    return sorted(found)


def published():
    """The published ports in our table: (prefix of the container's id, address, port)."""
    found = []
    for line in rules():
        name, _, *rest = line.split(" ")
        if name in ("any4", "ports4", "any6", "ports6"):
            data = bytes.fromhex(rest[0])
            found.append((rest[1], str(ipaddress.ip_address(data[:-4])), int.from_bytes(data[-4:-2], "big")))
    return found


def rows(store, table):
    return store.db.execute(f"SELECT * FROM {table}").fetchall()


@pytest.fixture(autouse=True)
def host():
    if os.geteuid():
        pytest.skip("network namespaces need root")
    with apart():
        yield
        left = [name for name in links() if name not in ("lo", "outside")]
        assert left == []
        assert rules() == []
        with rtnetlink.Rtnetlink() as kernel:
            assert kernel.alternative_names(1) == []


@pytest.fixture
def store(tmp_path):
    store = Store(Roots(f"{tmp_path}/s", f"{tmp_path}/r"))
    store.db  # noqa: B018 (opened here: the state folder exists)
    yield store
    store.close()


@pytest.fixture
def wiring(store):
    return Wiring(store)


class Space:
    """A process that waits in its own network namespace, like a container's first process."""

    def __init__(self, number):
        self.id = f"{number:04x}".ljust(64, "c")
        self.process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.process.stdout.readline()
        self.pid = self.process.pid
        self.net = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)

    def inside(self):
        return rtnetlink.inside(self.net)

    def output(self, *command):
        with self.inside():
            done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout + done.stderr

    def listen(self, port, address="0.0.0.0", kind=socket.SOCK_STREAM):
        """A bound socket in the namespace; it stays usable from here."""
        with self.inside():
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
            sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        sock.settimeout(3)
        return sock

    def close(self):
        os.close(self.net)
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def spaces(host):
    """Creates namespaces like those of containers; removed after the test."""
    made = []

    def make():
        made.append(Space(len(made)))
        return made[-1]

    yield make
    for space in made:
        space.close()
    # The kernel destroys namespaces asynchronously: first remove the links on the host's side.
    for name in links():
        if name.startswith("cv"):
            subprocess.run(["ip", "link", "delete", name], capture_output=True)


@contextlib.asynccontextmanager
async def connected(wiring, space, *attachments, ports=()):
    """Connect a Space; returns its endpoints and its ports on the host."""
    try:
        plans = wiring.lease(space.id, attachments)
        bindings = wiring.reserve(space.id, ports, plans)
        await wiring.connect(space.id, space.pid, plans)
        yield [plan.endpoint for plan in plans], bindings
    finally:
        await wiring.disconnect(space.id)


@contextlib.asynccontextmanager
async def network(store, name="n", **fields):
    record = await bridge.create(store, NetworkSpec(name=name, **fields))
    try:
        yield record
    finally:
        await removal.remove(store, name)


def reaches(source, address, port, listener=None, timeout=5.0):
    """Whether a TCP connection from `source` (a Space, None for the host) can be made. With `listener`, whether that
    one accepts it: then returns the address that it sees."""
    with source.inside() if source else contextlib.nullcontext():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    with sock:
        sock.settimeout(timeout)
        try:
            sock.connect((address, port))
        except OSError:
            return False
        if listener is None:
            return True
        accepted, peer = listener.accept()
        accepted.close()
        return peer[0]


def blocked(source, address, port):
    """Whether nothing answers; for silently dropped packets this takes the whole timeout."""
    return not reaches(source, address, port, timeout=0.3)
