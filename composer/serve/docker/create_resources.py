"""Translate a client's limits, with Docker's checks (HostConfig, "Resources")."""

from __future__ import annotations

import os

from composer.serve.docker import body, create_check
from composer.serve.http.errors import BadRequest
from engine.spec.container import LEAST_MEMORY, BlkioRule, Resources


def resources(host: body.Limits) -> Resources:
    """The limits. Raises BadRequest with Docker's message."""
    _check_memory(host)
    _check_processors(host)
    weight = host.blkio_weight or 0
    if weight and not 10 <= weight <= 1000:
        raise BadRequest("Range of blkio weight is from 10 to 1000")
    swappiness = host.memory_swappiness
    return Resources(
        cpus=(host.nano_cpus or 0) / 1e9,
        cpu_shares=host.cpu_shares or 0,
        cpu_quota=host.cpu_quota or 0,
        cpu_period=host.cpu_period or 0,
        cpu_rt_runtime=host.cpu_realtime_runtime or 0,
        cpu_rt_period=host.cpu_realtime_period or 0,
        cpuset=host.cpuset_cpus or "",
        cpuset_mems=host.cpuset_mems or "",
        memory=host.memory or 0,
        memory_swap=host.memory_swap or 0,
        memory_reservation=host.memory_reservation or 0,
        memory_swappiness=None if swappiness == -1 else swappiness,
        oom_kill_disable=bool(host.oom_kill_disable),
        pids_limit=host.pids_limit or 0,
        blkio_weight=weight,
        blkio_weight_device=tuple(BlkioRule(path=r.path, value=r.weight) for r in host.blkio_weight_device or ()),
        device_read_bps=_rates(host.blkio_device_read_bps),
        device_read_iops=_rates(host.blkio_device_read_iops),
        device_write_bps=_rates(host.blkio_device_write_bps),
        device_write_iops=_rates(host.blkio_device_write_iops),
    )


def _check_memory(host: body.Limits) -> None:
    memory, swap = host.memory or 0, host.memory_swap or 0
    if 0 < memory < LEAST_MEMORY:
        raise BadRequest("Minimum memory limit allowed is 6MB")
    if memory > 0 and 0 < swap < memory:
        raise BadRequest("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not memory and swap > 0:
        raise BadRequest("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < (host.memory_reservation or 0) < LEAST_MEMORY:
        raise BadRequest("Minimum memory reservation allowed is 6MB")
    if memory and (host.memory_reservation or 0) > memory:
        raise BadRequest("Minimum memory limit can not be less than memory reservation limit, see usage")
    swappiness = host.memory_swappiness
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise BadRequest(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")


def _check_processors(host: body.Limits) -> None:
    processors = os.cpu_count() or 1
    nano = host.nano_cpus or 0
    if nano and (host.cpu_period or host.cpu_quota):
        raise BadRequest(
            "Conflicting options: Nano CPUs and CPU "
            + ("Period" if host.cpu_period else "Quota")
            + " cannot both be set"
        )
    if nano < 0 or nano > processors * 1_000_000_000:
        raise BadRequest(
            f"range of CPUs is from 0.01 to {processors:.2f}, as there are only {processors} CPUs available"
        )
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise BadRequest("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if host.cpu_quota and 0 < host.cpu_quota < 1000:
        raise BadRequest("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    create_check.check_processors(host.cpuset_cpus or "")
    create_check.check_nodes(host.cpuset_mems or "")


def _rates(rules: list[body.Rate] | None) -> tuple[BlkioRule, ...]:
    return tuple(BlkioRule(path=rule.path, value=rule.rate) for rule in rules or ())
