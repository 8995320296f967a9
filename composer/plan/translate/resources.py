"""Limits and reservations; those of `deploy` take precedence over the service's."""

from __future__ import annotations

from typing import Any

from composer.model.deploy import Limits, Reservations
from composer.model.device import BlockIO, Rate
from composer.plan.translate.scope import Scope
from engine.spec.container import LEAST_MEMORY, BlkioRule, Resources


def resources(scope: Scope) -> Resources:
    service = scope.service
    wanted = service.deploy.resources if service.deploy else None
    limits = (wanted.limits if wanted else None) or Limits()
    reservations = (wanted.reservations if wanted else None) or Reservations()
    memory = limits.memory or service.mem_limit
    if 0 < memory < LEAST_MEMORY:
        key = ("deploy", "resources", "limits", "memory") if limits.memory else ("mem_limit",)
        scope.refuse(key, "is below the minimum of 6 MiB: programs could not even start")
    _check(scope, memory)
    return Resources(
        cpus=limits.cpus or service.cpus,
        cpu_shares=service.cpu_shares,
        cpu_quota=service.cpu_quota,
        cpu_period=service.cpu_period,
        cpu_rt_runtime=service.cpu_rt_runtime,
        cpu_rt_period=service.cpu_rt_period,
        cpuset=service.cpuset,
        memory=memory,
        memory_swap=service.memswap_limit,
        memory_reservation=reservations.memory or service.mem_reservation,
        memory_swappiness=service.mem_swappiness,
        oom_kill_disable=service.oom_kill_disable,
        pids_limit=limits.pids or service.pids_limit,
        **_block_io(service.blkio_config or BlockIO()),
    )


def _check(scope: Scope, memory: int) -> None:
    service = scope.service
    if service.cpus and (service.cpu_quota or service.cpu_period):
        scope.refuse(("cpus",), "cannot be combined with cpu_quota and cpu_period, which set the same limit")
    if service.memswap_limit > 0 and not memory:
        scope.refuse(("memswap_limit",), "needs mem_limit: it is the total of memory and swap")
    if memory and 0 < service.memswap_limit < memory:
        scope.refuse(("memswap_limit",), "is smaller than mem_limit: it is the total of memory and swap")
    if memory and service.mem_reservation > memory:
        scope.refuse(("mem_reservation",), "is larger than mem_limit")
    if service.mem_swappiness is not None and not -1 <= service.mem_swappiness <= 100:
        scope.refuse(("mem_swappiness",), "is not between 0 and 100")


def _block_io(given: BlockIO) -> dict[str, Any]:
    def rules(rates: tuple[Rate, ...]) -> tuple[BlkioRule, ...]:
        return tuple(BlkioRule(path=one.path, value=one.rate) for one in rates)

    return {
        "blkio_weight": given.weight,
        "blkio_weight_device": tuple(BlkioRule(path=one.path, value=one.weight) for one in given.weight_device),
        "device_read_bps": rules(given.device_read_bps),
        "device_read_iops": rules(given.device_read_iops),
        "device_write_bps": rules(given.device_write_bps),
        "device_write_iops": rules(given.device_write_iops),
    }
