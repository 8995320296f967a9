"""Limits in the container's cgroups; and what happens when memory runs out."""

import os
import time

import pytest

from engine.errors import InvalidSpec, Unsupported
from engine.spec.container import BlkioRule, Resources

UNIFIED = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
MB = 1 << 20


def read(record, name):
    """The value of a cgroup file (of v1 or v2, the first that exists), in any hierarchy."""
    with open(f"/proc/{record.state.pid}/cgroup") as file:
        lines = [line.strip().split(":", 2) for line in file]
    controller = name.split(".")[0]
    for number, controllers, path in lines:
        if controller in controllers.split(",") or (number == "0" and UNIFIED):
            base = "/sys/fs/cgroup" if UNIFIED else f"/sys/fs/cgroup/{controller}"
            with open(f"{base}{path}/{name}") as file:
                return file.read().strip()
    raise AssertionError(f"no controller for {name}")


V1 = [
    (Resources(cpus=0.5), {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}),
    (Resources(cpu_quota=25000, cpu_period=50000), {"cpu.cfs_quota_us": "25000", "cpu.cfs_period_us": "50000"}),
    (Resources(cpu_period=50000), {"cpu.cfs_period_us": "50000"}),
    (Resources(cpu_shares=512), {"cpu.shares": "512"}),
    (Resources(cpuset="0"), {"cpuset.cpus": "0"}),
    (Resources(memory=64 * MB), {"memory.limit_in_bytes": str(64 * MB), "memory.memsw.limit_in_bytes": str(128 * MB)}),
    (Resources(memory=64 * MB, memory_swap=96 * MB), {"memory.memsw.limit_in_bytes": str(96 * MB)}),
    (Resources(memory=64 * MB, memory_reservation=32 * MB), {"memory.soft_limit_in_bytes": str(32 * MB)}),
    (Resources(memory=64 * MB, memory_swappiness=0), {"memory.swappiness": "0"}),
    (Resources(pids_limit=33), {"pids.max": "33"}),
    (Resources(pids_limit=-1), {"pids.max": "max"}),
]  # fmt: skip
V2 = [
    (Resources(cpus=0.5), {"cpu.max": "50000 100000"}),
    (Resources(cpu_quota=25000, cpu_period=50000), {"cpu.max": "25000 50000"}),
    (Resources(cpu_period=50000), {"cpu.max": "max 50000"}),
    (Resources(cpu_shares=1024), {"cpu.weight": "39"}),
    (Resources(cpuset="0"), {"cpuset.cpus": "0"}),
    (Resources(memory=64 * MB), {"memory.max": str(64 * MB), "memory.swap.max": str(64 * MB)}),
    (Resources(memory=64 * MB, memory_swap=-1), {"memory.swap.max": "max"}),
    (Resources(memory=64 * MB, memory_reservation=32 * MB), {"memory.low": str(32 * MB)}),
    (Resources(pids_limit=33), {"pids.max": "33"}),
]


@pytest.mark.parametrize(("resources", "expected"), V2 if UNIFIED else V1)
def test_limits(box, resources, expected):
    record = box.start(resources=resources)
    assert {name: read(record, name) for name in expected} == expected


def test_oom_kill_disable(box):
    if UNIFIED:
        with pytest.raises(Unsupported, match="oom_kill_disable"):
            box.start(resources=Resources(memory=64 * MB, oom_kill_disable=True))
    else:
        record = box.start(resources=Resources(memory=64 * MB, oom_kill_disable=True))
        assert "oom_kill_disable 1" in read(record, "memory.oom_control")


def test_blkio(box, tmp_path):
    device = next((f"/dev/{name}" for name in os.listdir("/sys/block") if os.path.exists(f"/dev/{name}")), None)
    if device is None:
        pytest.skip("no block device")
    number = os.stat(device).st_rdev
    rule = (BlkioRule(path=device, value=12345678),)
    record = box.start(resources=Resources(device_read_bps=rule, device_write_iops=(BlkioRule(path=device, value=99),)))
    place = f"{os.major(number)}:{os.minor(number)}"
    if UNIFIED:
        assert f"{place} rbps=12345678 wbps=max riops=max wiops=99" in read(record, "io.max")
    else:
        assert f"{place} 12345678" in read(record, "blkio.throttle.read_bps_device")
        assert f"{place} 99" in read(record, "blkio.throttle.write_iops_device")


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        (Resources(memory=64 * MB, memory_swap=32 * MB), "memswap_limit"),
        (Resources(memory_swap=32 * MB), "memswap_limit"),
        (Resources(memory=32 * MB, memory_reservation=64 * MB), "mem_reservation"),
        (Resources(cpus=1.0, cpu_quota=1000), "cpus"),
        (Resources(cpus=10_000.0), "cpus"),
    ],
)
def test_contradictions(box, resources, text):
    with pytest.raises(InvalidSpec, match=text):
        box.create("true", resources=resources)


def test_pids_are_limited(box):
    code, text = box.run("sh", "-c", "for i in 1 2 3 4 5 6; do sleep 1000 & done", resources=Resources(pids_limit=4))
    assert code != 0 and "Resource temporarily unavailable" in text


HUNGRY = "head -c 100000000 /dev/zero | tail -c 100000000 > /dev/null"


def test_oom_kill_is_reported(box):
    record = box.start(
        "sh", "-c", "exec tail -c 100000000 /dev/zero", resources=Resources(memory=16 * MB, memory_swap=16 * MB)
    )
    assert box.wait(record) == 137
    state = box.state(record)
    assert state.oom_killed
    assert box.engine.containers(box.group)[0].state.oom_killed
    box.do(box.session.start(record.id))
    assert not box.state(record).oom_killed


def test_oom_kill_of_child_is_reported(box):
    record = box.start("sh", "-c", f"{HUNGRY}; echo survived", resources=Resources(memory=16 * MB, memory_swap=16 * MB))
    assert box.wait(record) == 0 and "survived" in box.log(record)
    assert box.state(record).oom_killed


def test_no_oom_is_reported_without_one(box):
    record = box.start("sh", "-c", "exit 137", resources=Resources(memory=64 * MB))
    assert box.wait(record) == 137 and not box.state(record).oom_killed


def test_a_share_of_the_processor_is_kept(box):
    record = box.start("sh", "-c", "while :; do :; done", resources=Resources(cpus=0.1))
    first = box.engine.stats(box.group, record.id)
    time.sleep(0.5)
    second = box.engine.stats(box.group, record.id)
    assert (second.cpu - first.cpu) / 1e9 / (second.read_at - first.read_at) < 0.2
