"""pid, ipc, uts, cgroup and network modes: whose namespaces a container uses."""

import os

import pytest

from engine.errors import InvalidSpec, NotFound, WrongState
from engine.spec.container import Attachment, PortBinding
from engine.spec.network import NetworkSpec

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


def spaces(record):
    return {kind: os.readlink(f"/proc/{record.state.pid}/ns/{kind}") for kind in KINDS}


OURS = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}


def shared(one, other):
    return {kind for kind in KINDS if one[kind] == other[kind]}


def test_namespaces_are_private_by_default(box):
    first, second = spaces(box.start()), spaces(box.start())
    assert shared(first, OURS) == set() and shared(first, second) == set()
    assert box.shell("echo $$") == "1"


@pytest.mark.parametrize(("key", "kinds"), [("pid_mode", {"pid"}), ("ipc_mode", {"ipc"}), ("uts_mode", {"uts"}),
                                            ("cgroup_mode", {"cgroup"}), ("network_mode", {"net", "uts"})])  # fmt: skip
def test_namespaces_of_the_host(box, key, kinds):
    # The test session has its own mount and network namespaces, which represent the host's.
    ours = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}
    assert shared(spaces(box.start(**{key: "host"})), ours) == kinds


@pytest.mark.parametrize(("key", "kind"), [("pid_mode", "pid"), ("ipc_mode", "ipc"), ("network_mode", "net")])
@pytest.mark.parametrize("by", ["id", "name"])
def test_namespaces_of_another_container(box, key, kind, by):
    other = box.start(ipc_mode="shareable")
    name = other.id if by == "id" else other.spec.name
    record = box.start(**{key: f"container:{name}"})
    assert shared(spaces(record), spaces(other)) == {kind}


def test_a_namespace_is_joined_only_while_its_container_runs(box):
    other = box.create("true")
    record = box.create("true", pid_mode=f"container:{other.id}")
    with pytest.raises(WrongState, match="which is not running"):
        box.do(box.session.start(record.id))
    with pytest.raises(NotFound, match="tnobody"):
        box.create("true", pid_mode="container:tnobody")


def test_the_process_ends_with_the_pid_namespace_that_it_joined(box):
    other = box.start()
    record = box.start(pid_mode=f"container:{other.id}")
    assert box.inside(record, "grep -c '' /proc/1/comm; readlink /proc/1/exe") == "1\n/bin/busybox"
    box.do(box.session.stop(other.id))
    assert box.wait(record) == 137


def test_ipc_is_shared_only_when_the_owner_wants_that(box):
    private = box.start()
    record = box.create("true", ipc_mode=f"container:{private.id}")
    with pytest.raises(InvalidSpec, match="ipc: shareable"):
        box.do(box.session.start(record.id))
    other = box.start(ipc_mode="shareable", shm_size=1 << 20)
    box.inside(other, "echo shared > /dev/shm/x")
    assert (
        box.shell("cat /dev/shm/x; df -k /dev/shm | awk 'END{print $2}'", ipc_mode=f"container:{other.id}")
        == "shared\n1024"
    )
    assert box.shell("ls -d /dev/shm 2>/dev/null || echo none", ipc_mode="none") == "none"


def test_shared_network_namespace_shares_names(box):
    box.do(box.session.create_network(NetworkSpec(name="tshare")))
    other = box.start(networks=(Attachment(network="tshare"),), extra_hosts=(("friend", "10.9.8.7"),), hostname="other")
    found = box.shell(
        "hostname; cat /etc/hosts /etc/resolv.conf; ls /sys/class/net", network_mode=f"container:{other.id}"
    )
    assert found.startswith("other\n") and "10.9.8.7\tfriend" in found and "127.0.0.11" in found and "eth0" in found


@pytest.mark.parametrize("fields", [{"hostname": "x"}, {"ports": (PortBinding(container_port=80),)}, {"dns": ("1.1.1.1",)},
                                    {"extra_hosts": (("a", "1.1.1.1"),)}])  # fmt: skip
def test_shared_network_namespace_excludes_other_networks(box, fields):
    with pytest.raises(InvalidSpec, match="cannot be set with network_mode"):
        box.create("true", network_mode=f"container:{box.create('true').id}", **fields)


def test_network_host_and_none(box):
    with open("/etc/hosts") as file:
        first = file.readline()
    found = box.shell("cat /etc/hosts; hostname", network_mode="host", extra_hosts=(("friend", "10.9.8.7"),))
    assert found.startswith(first) and "10.9.8.7\tfriend" in found and found.endswith(os.uname().nodename)
    port = (PortBinding(container_port=80, host_port="18080"),)
    assert (
        box.shell("nc -l -p 18080 -w 1 & sleep 0.05; kill -0 $! && echo free", network_mode="host", ports=port)
        == "free"
    )
    assert box.shell("ls /sys/class/net", network_mode="none") == "lo"


@pytest.mark.parametrize("key", ["pid_mode", "ipc_mode", "uts_mode", "cgroup_mode", "network_mode"])
def test_an_unknown_mode(box, key):
    with pytest.raises(InvalidSpec, match=r"unknown .* mode 'mine'"):
        box.create("true", **{key: "mine"})


def test_own_cgroups_are_seen_as_roots(box):
    for line in box.shell("cat /proc/self/cgroup").splitlines():
        controllers, path = line.split(":", 2)[1:]
        if "memory" in controllers.split(","):
            assert path == "/"
    assert box.shell("ls /sys/fs/cgroup/memory/cgroup.procs /sys/fs/cgroup/cgroup.procs 2>/dev/null || true")
    assert box.shell("! echo 1 > /sys/fs/cgroup/memory/cgroup.procs; echo ro").endswith("ro")


def test_cgroup_parent(box):
    record = box.start(cgroup_parent=f"/{box.group}-parent")
    with open(f"/proc/{record.state.pid}/cgroup") as file:
        assert f"/{box.group}-parent/{record.id}\n" in file.read()
    box.do(box.session.pause(record.id))
    assert box.engine.stats(box.group, record.id).pids == 1
    box.do(box.session.remove(record.id, force=True))
    for tree in os.listdir("/sys/fs/cgroup"):
        folder = f"/sys/fs/cgroup/{tree}/{box.group}-parent"
        if os.path.isdir(folder):
            os.rmdir(folder)
