"""What each limit is called: one table for v1 and one for v2, (controller, file) → value."""

from __future__ import annotations

import os

from engine.errors import InvalidSpec, OperationFailed, Unsupported
from engine.spec.container import BlkioRule, Resources

Settings = list[tuple[str, str, str]]
"""(controller, file, value), in the order in which they must be written."""

CONTROLLERS = {
    "cpus": "cpu", "cpu_shares": "cpu", "cpu_quota": "cpu", "cpu_period": "cpu", "cpu_rt_runtime": "cpu",
    "cpu_rt_period": "cpu", "cpuset": "cpuset", "memory": "memory", "memory_swap": "memory",
    "memory_reservation": "memory", "memory_swappiness": "memory", "oom_kill_disable": "memory", "pids_limit": "pids",
    "blkio_weight": "io", "blkio_weight_device": "io", "device_read_bps": "io", "device_read_iops": "io",
    "device_write_bps": "io", "device_write_iops": "io",
}  # fmt: skip
"""Limit → the v2 controller that enforces it."""

PERIOD = 100_000
"""Microseconds: the default CFS period."""


def _quota(limits: Resources) -> tuple[int, int]:
    if limits.cpus:
        return int(limits.cpus * PERIOD), PERIOD
    return limits.cpu_quota, limits.cpu_period or PERIOD


def check(limits: Resources) -> None:
    """Raises InvalidSpec for limits that contradict each other, or that this host cannot keep."""
    if limits.cpus and (limits.cpu_quota or limits.cpu_period):
        raise InvalidSpec("cpus and cpu_quota with cpu_period set the same limit: use only one")
    if limits.cpus:
        processors = os.cpu_count() or 1
        if not 0 < limits.cpus <= processors:
            raise InvalidSpec(f"cpus: {limits.cpus:g} is not within 0.01 and {processors}, as many as this host has")
    if limits.memory_swap > 0 and not limits.memory:
        raise InvalidSpec("memswap_limit needs mem_limit: it is the total of memory and swap")
    if limits.memory and limits.memory_reservation > limits.memory:
        raise InvalidSpec("mem_reservation cannot be more than mem_limit")
    if limits.memory_swappiness is not None and not 0 <= limits.memory_swappiness <= 100:
        raise InvalidSpec(f"mem_swappiness: {limits.memory_swappiness} is not within 0 and 100")
    _swap(limits)


def _swap(limits: Resources) -> int | None:
    """memory + swap in bytes, -1 for no limit, None when nothing was said: Docker then allows as much swap as memory."""
    if not limits.memory:
        return None
    if limits.memory_swap == 0:
        return limits.memory * 2
    if 0 < limits.memory_swap < limits.memory:
        raise InvalidSpec("memswap_limit is the total of memory and swap and cannot be less than mem_limit")
    return limits.memory_swap


def device_number(rule: BlkioRule) -> str:
    try:
        number = os.stat(rule.path).st_rdev
    except OSError as error:
        raise OperationFailed.of("find the block device", rule.path, error) from error
    return f"{os.major(number)}:{os.minor(number)}"


def v1(limits: Resources) -> Settings:
    found: Settings = []

    def add(controller: str, file: str, value: object) -> None:
        found.append((controller, file, str(value)))

    quota, period = _quota(limits)
    if limits.cpu_shares:
        add("cpu", "cpu.shares", limits.cpu_shares)
    if quota or limits.cpu_period:
        add("cpu", "cpu.cfs_period_us", period)
    if quota:
        add("cpu", "cpu.cfs_quota_us", quota)
    if limits.cpu_rt_period:
        add("cpu", "cpu.rt_period_us", limits.cpu_rt_period)
    if limits.cpu_rt_runtime:
        add("cpu", "cpu.rt_runtime_us", limits.cpu_rt_runtime)
    if limits.cpuset:
        add("cpuset", "cpuset.cpus", limits.cpuset)
    if limits.memory:
        add("memory", "memory.limit_in_bytes", limits.memory)
    swap = _swap(limits)
    if swap is not None:
        add("memory", "memory.memsw.limit_in_bytes", swap)
    if limits.memory_reservation:
        add("memory", "memory.soft_limit_in_bytes", limits.memory_reservation)
    if limits.memory_swappiness is not None:
        add("memory", "memory.swappiness", limits.memory_swappiness)
    if limits.oom_kill_disable:
        add("memory", "memory.oom_control", 1)
    if limits.pids_limit:
        add("pids", "pids.max", "max" if limits.pids_limit < 0 else limits.pids_limit)
    if limits.blkio_weight:
        add("blkio", "blkio.bfq.weight", limits.blkio_weight)
    for rule in limits.blkio_weight_device:
        add("blkio", "blkio.bfq.weight_device", f"{device_number(rule)} {rule.value}")
    for rules, file in (
        (limits.device_read_bps, "read_bps_device"),
        (limits.device_write_bps, "write_bps_device"),
        (limits.device_read_iops, "read_iops_device"),
        (limits.device_write_iops, "write_iops_device"),
    ):
        for rule in rules:
            add("blkio", f"blkio.throttle.{file}", f"{device_number(rule)} {rule.value}")
    return found


def v2(limits: Resources) -> Settings:
    """Raises Unsupported for what the unified hierarchy does not have."""
    for name in ("oom_kill_disable", "memory_swappiness", "cpu_rt_runtime", "cpu_rt_period"):
        if getattr(limits, name) not in (None, 0, False) or (
            name == "memory_swappiness" and limits.memory_swappiness == 0
        ):
            raise Unsupported(
                f"{name} is not supported with cgroup v2", hint="Remove the key; see docs/compatibility.md."
            )
    found: Settings = []

    def add(controller: str, file: str, value: object) -> None:
        found.append((controller, file, str(value)))

    quota, period = _quota(limits)
    if limits.cpu_shares:
        # The conversion of the OCI runtimes: [2, 262144] onto [1, 10000].
        add("cpu", "cpu.weight", 1 + ((max(2, limits.cpu_shares) - 2) * 9999) // 262142)
    if quota or limits.cpu_period:
        add("cpu", "cpu.max", f"{quota if quota > 0 else 'max'} {period}")
    if limits.cpuset:
        add("cpuset", "cpuset.cpus", limits.cpuset)
    if limits.memory:
        add("memory", "memory.max", limits.memory)
    swap = _swap(limits)
    if swap is not None:
        add("memory", "memory.swap.max", "max" if swap < 0 else swap - limits.memory)
    if limits.memory_reservation:
        add("memory", "memory.low", limits.memory_reservation)
    if limits.pids_limit:
        add("pids", "pids.max", "max" if limits.pids_limit < 0 else limits.pids_limit)
    if limits.blkio_weight:
        add("io", "io.bfq.weight", limits.blkio_weight)
    for rule in limits.blkio_weight_device:
        add("io", "io.bfq.weight", f"{device_number(rule)} {rule.value}")
    for rules, key in (
        (limits.device_read_bps, "rbps"),
        (limits.device_write_bps, "wbps"),
        (limits.device_read_iops, "riops"),
        (limits.device_write_iops, "wiops"),
    ):
        for rule in rules:
            add("io", "io.max", f"{device_number(rule)} {key}={rule.value}")
    return found
