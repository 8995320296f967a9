"""Limits that take effect, on this machine's hierarchy; `make vm-test` runs these tests on the unified one."""

import os
import time

import pytest

from engine.errors import InvalidSpec
from engine.spec.container import Resources

MEGA = 1 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers need root")


def handle(host, record):
    return host.session._group.cgroups.handle(host.group, record.id, record.spec.cgroup_parent)


def limit(host, record, v1, unified):
    folders = handle(host, record).folders
    place = f"{folders['']}/{unified}" if "" in folders else f"{folders[v1.partition('.')[0]]}/{v1}"
    with open(place) as file:
        return file.read().strip()


def test_limits_are_set(host):
    limits = Resources(cpus=0.5, cpu_shares=512, memory=64 * MEGA, memory_swap=64 * MEGA, pids_limit=30, cpuset="0")
    record = host.sleep(resources=limits)
    assert limit(host, record, "memory.limit_in_bytes", "memory.max") == str(64 * MEGA)
    assert limit(host, record, "pids.max", "pids.max") == "30"
    assert limit(host, record, "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert limit(host, record, "cpu.shares", "cpu.weight") in ("512", "20")
    assert limit(host, record, "cpuset.cpus", "cpuset.cpus") == "0"
    assert "Cpus_allowed_list:\t0\n" in host.exec(record, "cat", "/proc/self/status").out


def test_the_container_sees_its_own_cgroup_as_the_root(host):
    record = host.sleep()
    assert {line.rpartition(":")[2] for line in host.exec(record, "cat", "/proc/self/cgroup").out.split()} >= {"/"}
    assert host.exec(record, "sh", "-c", "mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/memory/x").code != 0
    files = "find /sys/fs/cgroup -name '*.max' -o -name '*limit_in_bytes' -o -name cgroup.procs"
    writing = f"for f in $({files}); do echo 1 > $f && exit 9; done; true"
    assert host.exec(record, "sh", "-c", writing).code == 0


def test_fork_bomb(host):
    """It reaches its own limit, others keep running, and it can be removed."""
    bomb = host.start("sh", "-c", "b() { b | b & }; b; sleep 1000", resources=Resources(pids_limit=40))
    deadline = time.monotonic() + 20
    while int(limit(host, bomb, "pids.current", "pids.current")) < 30:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert host.shell("echo fine").out == "fine\n"
    begin = time.monotonic()
    host.wait(host.session.remove(bomb.id, force=True))
    assert time.monotonic() - begin < 15
    assert not handle(host, bomb).folders if bomb.id in host.session.records else True


def test_memory_bomb(host):
    limits = Resources(memory=24 * MEGA, memory_swap=24 * MEGA)
    bomb = host.start("tail", "/dev/zero", resources=limits)
    state = host.end_of(bomb)
    assert (state.exit_code, state.oom_killed) == (137, True)


def test_an_ordinary_end_is_not_for_want_of_memory(host):
    record = host.sleep(resources=Resources(memory=24 * MEGA))
    host.wait(host.session.signal(record.id, 9))
    state = host.end_of(record)
    assert (state.exit_code, state.oom_killed) == (137, False)


def test_raw_devices_are_denied(host):
    """As with Docker, a node can be created but not opened, whatever the capabilities."""
    number = os.stat("/dev/vda").st_rdev if os.path.exists("/dev/vda") else os.stat("/").st_dev
    disc = f"{os.major(number)} {os.minor(number)}"
    script = f"mknod /disc b {disc} && ! dd if=/disc of=/dev/null count=1 && mknod /mem c 1 1 && ! head -c 1 /mem"
    found = host.shell(script)
    assert found.code == 0, found
    assert "not permitted" in found.out
    assert host.shell(script, cap_add=("ALL",)).code == 0


def test_a_device_rule_opens_a_device(host):
    rule = ("c 1:11 rw",)
    assert host.shell("mknod /log c 1 11 && ! true > /log", cap_add=("SYSLOG",)).code == 0
    opened = host.shell("mknod /log c 1 11 && true > /log", cap_add=("SYSLOG",), device_cgroup_rules=rule)
    assert opened.code == 0, opened


def test_privileged_may_use_devices(host):
    assert host.shell("mknod /log c 1 11 && true > /log", privileged=True).code == 0


def test_paused_container_makes_no_progress(host):
    record = host.start("sh", "-c", "while :; do :; done")
    host.wait(host.session.pause(record.id))
    folders = handle(host, record).folders
    place = f"{folders['']}/cgroup.events" if "" in folders else f"{folders['freezer']}/freezer.state"
    with open(place) as file:
        assert {"FROZEN", "frozen 1"} & set(file.read().splitlines())
    host.wait(host.session.unpause(record.id))
    assert host.exec(record, "true").code == 0


def test_first_process_exit_kills_the_others(host):
    record = host.start("sh", "-c", "sleep 1000 & setsid sleep 1000 & sleep 1000")
    pids = handle(host, record).pids()
    host.wait(host.session.stop(record.id, timeout=0))
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}") and alive(pid)]


def test_cgroups_created_by_the_container_are_removed(host):
    """systemd or a container engine inside creates its own."""
    script = """
    cd /sys/fs/cgroup; [ -e cgroup.procs ] || cd pids
    mkdir -p inner/deep; sleep 1000 & echo $! > inner/deep/cgroup.procs
    cat inner/deep/cgroup.procs; sleep 1000"""
    record = host.start("sh", "-c", script, privileged=True, cgroup_mode="private")
    while not host.output(record):
        pass
    found = handle(host, record)
    assert len(found.pids()) >= 2 or "pids" not in found.folders
    host.wait(host.session.stop(record.id, timeout=0))
    assert not [folder for folder in found.folders.values() if os.path.exists(folder)]


def alive(pid):
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            return "/composer" in file.read()
    except OSError:
        return False


@pytest.mark.parametrize("parent", ["../../../tmp/out", "/a/../../../../tmp/out", ".."])
def test_a_parent_outside_the_cgroup_file_system(host, parent):
    with pytest.raises(InvalidSpec, match="is outside the cgroup file system"):
        host.sleep(cgroup_parent=parent)
    assert not os.path.exists("/tmp/out")


def test_cgroups_of_a_killed_session_are_removed(host):
    """Cgroups without processes, of any state root, once no start can be using them."""
    record = host.sleep()
    cgroups, name = host.session._group.cgroups, f"composer-{os.getpid():08x}"
    tops = [f"{base}/{name}" for base in cgroups.hierarchies.values()]
    for top in tops:
        os.makedirs(f"{top}/shop/{record.id}/own")
    cgroups.sweep_abandoned()
    assert all(os.path.isdir(f"{top}/shop/{record.id}/own") for top in tops)  # it may be starting
    running = handle(host, record).folders.values()
    for place in [place for top in tops for place, _, _ in os.walk(top)] + list(running):
        os.utime(place, (0, 0))
    cgroups.sweep_abandoned()
    assert not any(map(os.path.exists, tops)) and all(map(os.path.isdir, running))
