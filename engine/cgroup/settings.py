"""The files of each limit: one table for v1 and one for v2, (controller, file) → value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from engine.errors import InvalidSpec, OperationFailed, Unsupported
from engine.spec.container import BlkioRule, Resources

Settings = list[tuple[str, str, str]]
"""(controller, file, value), in the order in which they must be written."""

CONTROLLERS = {
    "cpus": "cpu", "cpu_shares": "cpu", "cpu_quota": "cpu", "cpu_period": "cpu", "cpu_rt_runtime": "cpu",
    "cpu_rt_period": "cpu", "cpuset": "cpuset", "cpuset_mems": "cpuset", "memory": "memory", "memory_swap": "memory",
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
    """Raises InvalidSpec for limits that are contradictory or impossible on this host."""
    if limits.cpus and (limits.cpu_quota or limits.cpu_period):
        raise InvalidSpec("cpus and cpu_quota with cpu_period set the same limit: use only one")
    if limits.cpus:
        processors = os.cpu_count() or 1
        if not 0 < limits.cpus <= processors:
            raise InvalidSpec(f"cpus: {limits.cpus:g} is not within 0.01 and {processors}, this host's number of CPUs")
    if limits.memory_swap > 0 and not limits.memory:
        raise InvalidSpec("memswap_limit needs mem_limit: it is the total of memory and swap")
    if limits.memory and limits.memory_reservation > limits.memory:
        raise InvalidSpec("mem_reservation cannot be more than mem_limit")
    if limits.memory_swappiness is not None and not 0 <= limits.memory_swappiness <= 100:
        raise InvalidSpec(f"mem_swappiness: {limits.memory_swappiness} is not between 0 and 100")
    _swap(limits)


def _swap(limits: Resources) -> int | None:
    """Memory and swap in bytes, -1 for no limit, None if unset: Docker then allows as much swap as memory."""
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
    quota, period = _quota(limits)
    swappiness = limits.memory_swappiness
    cpu = {
        "cpu.shares": limits.cpu_shares,
        "cpu.cfs_period_us": period if quota or limits.cpu_period else 0,
        "cpu.cfs_quota_us": quota,
        "cpu.rt_period_us": limits.cpu_rt_period,
        "cpu.rt_runtime_us": limits.cpu_rt_runtime,
    }
    memory = {
        "memory.limit_in_bytes": limits.memory,
        "memory.memsw.limit_in_bytes": _swap(limits),
        "memory.soft_limit_in_bytes": limits.memory_reservation,
        "memory.swappiness": None if swappiness is None else str(swappiness),
        "memory.oom_control": int(limits.oom_kill_disable),
    }
    return [
        *_given("cpu", cpu),
        *_given("cpuset", {"cpuset.cpus": limits.cpuset, "cpuset.mems": limits.cpuset_mems}),
        *_given("memory", memory),
        *_given("pids", {"pids.max": _pids(limits)}),
        *_given("blkio", {"blkio.bfq.weight": limits.blkio_weight}),
        *_devices("blkio", "blkio.bfq.weight_device", limits.blkio_weight_device),
        *_devices("blkio", "blkio.throttle.read_bps_device", limits.device_read_bps),
        *_devices("blkio", "blkio.throttle.write_bps_device", limits.device_write_bps),
        *_devices("blkio", "blkio.throttle.read_iops_device", limits.device_read_iops),
        *_devices("blkio", "blkio.throttle.write_iops_device", limits.device_write_iops),
    ]


def v2(limits: Resources) -> Settings:
    """The values for v2. Raises Unsupported for limits that the unified hierarchy lacks."""
    for name in ("oom_kill_disable", "memory_swappiness", "cpu_rt_runtime", "cpu_rt_period"):
        if getattr(limits, name) not in (None, 0, False) or (
            name == "memory_swappiness" and limits.memory_swappiness == 0
        ):
            raise Unsupported(
                f"{name} is not supported with cgroup v2", hint="Remove the key; see docs/compatibility.md."
            )
    quota, period = _quota(limits)
    swap = _swap(limits)
    cpu = {
        # The conversion of the OCI runtimes: [2, 262144] onto [1, 10000].
        "cpu.weight": limits.cpu_shares and 1 + ((max(2, limits.cpu_shares) - 2) * 9999) // 262142,
        "cpu.max": f"{quota if quota > 0 else 'max'} {period}" if quota or limits.cpu_period else "",
    }
    memory = {
        "memory.max": limits.memory,
        "memory.swap.max": None if swap is None else "max" if swap < 0 else str(swap - limits.memory),
        "memory.low": limits.memory_reservation,
    }
    return [
        *_given("cpu", cpu),
        *_given("cpuset", {"cpuset.cpus": limits.cpuset, "cpuset.mems": limits.cpuset_mems}),
        *_given("memory", memory),
        *_given("pids", {"pids.max": _pids(limits)}),
        *_given("io", {"io.bfq.weight": limits.blkio_weight}),
        *_devices("io", "io.bfq.weight", limits.blkio_weight_device),
        *_devices("io", "io.max", limits.device_read_bps, "rbps="),
        *_devices("io", "io.max", limits.device_write_bps, "wbps="),
        *_devices("io", "io.max", limits.device_read_iops, "riops="),
        *_devices("io", "io.max", limits.device_write_iops, "wiops="),
    ]


def _given(controller: str, values: Mapping[str, object]) -> Settings:
    """The values that are set: neither None nor 0."""
    return [(controller, file, str(value)) for file, value in values.items() if value]


def _pids(limits: Resources) -> object:
    return "max" if limits.pids_limit < 0 else limits.pids_limit


def _devices(controller: str, file: str, rules: Iterable[BlkioRule], key: str = "") -> Settings:
    return [(controller, file, f"{device_number(rule)} {key}{rule.value}") for rule in rules]
