"""Each limit by its file and value, on both versions."""

import os

import pytest

from engine.cgroup import settings
from engine.errors import InvalidSpec, OperationFailed, Unsupported
from engine.spec.container import BlkioRule, Resources

MEGA = 1 << 20
CASES = [
    ({"cpus": 1.5}, ["cpu.cfs_period_us 100000", "cpu.cfs_quota_us 150000"], ["cpu.max 150000 100000"]),
    ({"cpu_quota": 5000}, ["cpu.cfs_period_us 100000", "cpu.cfs_quota_us 5000"], ["cpu.max 5000 100000"]),
    (
        {"cpu_quota": -1, "cpu_period": 50000},
        ["cpu.cfs_period_us 50000", "cpu.cfs_quota_us -1"],
        ["cpu.max max 50000"],
    ),
    ({"cpu_shares": 1024}, ["cpu.shares 1024"], ["cpu.weight 39"]),
    ({"cpu_shares": 2}, ["cpu.shares 2"], ["cpu.weight 1"]),
    ({"cpu_shares": 262144}, ["cpu.shares 262144"], ["cpu.weight 10000"]),
    ({"cpuset": "0,2-3"}, ["cpuset.cpus 0,2-3"], ["cpuset.cpus 0,2-3"]),
    (
        {"memory": 64 * MEGA},
        [f"memory.limit_in_bytes {64 * MEGA}", f"memory.memsw.limit_in_bytes {128 * MEGA}"],
        [f"memory.max {64 * MEGA}", f"memory.swap.max {64 * MEGA}"],
    ),
    (
        {"memory": 64 * MEGA, "memory_swap": 64 * MEGA},
        [f"memory.limit_in_bytes {64 * MEGA}", f"memory.memsw.limit_in_bytes {64 * MEGA}"],
        [f"memory.max {64 * MEGA}", "memory.swap.max 0"],
    ),
    (
        {"memory": 64 * MEGA, "memory_swap": -1},
        [f"memory.limit_in_bytes {64 * MEGA}", "memory.memsw.limit_in_bytes -1"],
        [f"memory.max {64 * MEGA}", "memory.swap.max max"],
    ),
    ({"memory_reservation": MEGA}, [f"memory.soft_limit_in_bytes {MEGA}"], [f"memory.low {MEGA}"]),
    ({"pids_limit": 10}, ["pids.max 10"], ["pids.max 10"]),
    ({"pids_limit": -1}, ["pids.max max"], ["pids.max max"]),
    ({"blkio_weight": 500}, ["blkio.bfq.weight 500"], ["io.bfq.weight 500"]),
]


def lines(found):
    return [f"{file} {value}" for _, file, value in found]


@pytest.mark.parametrize(("limits", "first", "second"), CASES, ids=lambda value: str(value)[:40])
def test_limits(limits, first, second):
    assert lines(settings.v1(Resources(**limits))) == first
    assert lines(settings.v2(Resources(**limits))) == second


def test_devices_are_named_by_number(monkeypatch):
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result((0o60000,) + (0,) * 9, {"st_rdev": os.makedev(8, 16)}))
    rule = (BlkioRule(path="/dev/sdb", value=1000),)
    limits = Resources(device_read_bps=rule, device_write_iops=rule, blkio_weight_device=rule)
    assert lines(settings.v1(limits)) == [
        "blkio.bfq.weight_device 8:16 1000",
        "blkio.throttle.read_bps_device 8:16 1000",
        "blkio.throttle.write_iops_device 8:16 1000",
    ]
    assert lines(settings.v2(limits)) == ["io.bfq.weight 8:16 1000", "io.max 8:16 rbps=1000", "io.max 8:16 wiops=1000"]


def test_a_missing_device_is_named():
    with pytest.raises(OperationFailed, match="find the block device /dev/nowhere: ENOENT"):
        settings.v2(Resources(device_read_bps=(BlkioRule(path="/dev/nowhere", value=1),)))


def test_swap_below_memory():
    with pytest.raises(InvalidSpec, match="memswap_limit is the total of memory and swap"):
        settings.v2(Resources(memory=2 * MEGA, memory_swap=MEGA))


@pytest.mark.parametrize(
    "wish", [{"oom_kill_disable": True}, {"memory_swappiness": 0}, {"cpu_rt_runtime": 1}, {"cpu_rt_period": 1}], ids=str
)
def test_settings_without_a_unified_equivalent(wish):
    with pytest.raises(Unsupported, match=f"{next(iter(wish))} is not supported with cgroup v2"):
        settings.v2(Resources(**wish))
