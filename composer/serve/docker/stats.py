"""A container's resource usage, once or every second (Docker Engine API 1.55, ContainerStats)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from composer.serve.docker.streaming import while_connected
from composer.serve.http.request import Reply
from composer.view import lookup
from composer.view.api_format import NEVER, now, timestamp
from composer.view.errors import Refusal
from engine.errors import EngineError
from engine.spec.stream import ContainerStats

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.state import ContainerRecord

INTERVAL = 1.0
"""Seconds between two samples, as with Docker."""
TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


async def stats(server: Server, request: Request, exchange: Exchange) -> Reply | None:
    """Report statistics. `stream=0` sends one object, which includes a sample from one second earlier unless
    `one-shot`."""
    record = lookup.container(server.engine, request.arguments["id"])
    streaming, one_shot = request.flag("stream", True), request.flag("one-shot")
    before: _Sample | None = None
    if not streaming:
        if not one_shot and record.state.status.alive:
            before = _Sample(server, record)
            await anyio.sleep(INTERVAL)
        shown = _shown(record, _Sample(server, record), before)
        if one_shot:
            del shown["name"], shown["id"]
        return Reply(shown)
    await exchange.begin(200, {"Content-Type": "application/json"})
    async with while_connected(exchange):
        while True:
            try:
                record = lookup.container(server.engine, record.id)
            except Refusal:
                return None
            sample = _Sample(server, record)
            await exchange.send(msgspec.json.encode(_shown(record, sample, before)) + b"\n")
            before = sample
            await anyio.sleep(INTERVAL)
    return None


class _Sample:
    """The counters at one moment; `counts` is None for a container that is not running."""

    def __init__(self, server: Server, record: ContainerRecord) -> None:
        self.counts: ContainerStats | None = None
        if record.state.status.alive:
            try:
                self.counts = server.engine.stats(record.group, record.id)
            except EngineError:
                pass  # it has just exited
        self.system = system_time()
        self.time = now()


def system_time() -> int:
    """Time of all processors, including idle time, in nanoseconds (proc_stat(5): the first eight counters of `cpu`)."""
    with open("/proc/stat", encoding="ascii") as file:
        return sum(int(word) for word in file.readline().split()[1:9]) * TICK


def _shown(record: ContainerRecord, sample: _Sample, before: _Sample | None) -> dict[str, Any]:
    value: dict[str, Any] = {
        "name": f"/{record.spec.name}",
        "id": record.id,
        "read": timestamp(sample.time) if sample.counts else NEVER,
        "preread": timestamp(before.time) if before and before.counts else NEVER,
        "pids_stats": {"current": sample.counts.pids} if sample.counts else {},
        "blkio_stats": _blocks(sample.counts),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(sample),
        "precpu_stats": _cpu(before),
        "memory_stats": _memory(sample.counts),
    }
    if sample.counts and sample.counts.links:
        value["networks"] = {name: msgspec.to_builtins(link) for name, link in sample.counts.links.items()}
        for counters in value["networks"].values():
            for key in LINK_KEYS:
                counters.setdefault(key, 0)
    return value


LINK_KEYS = tuple(f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped"))
BLOCK_KEYS = ("io_serviced", "io_queue", "io_service_time", "io_wait_time", "io_merged", "io_time", "sectors")


def _blocks(counts: ContainerStats | None) -> dict[str, Any]:
    rows = [
        {"major": block.major, "minor": block.minor, "op": block.operation.lower(), "value": block.value}
        for block in (counts.blocks if counts else ())
    ]
    return {
        "io_service_bytes_recursive": rows,
        **{f"{name}_recursive": [] for name in BLOCK_KEYS},
    }


def _cpu(sample: _Sample | None) -> dict[str, Any]:
    counts = sample.counts if sample else None
    found: dict[str, Any] = {
        "cpu_usage": {
            "total_usage": counts.cpu if counts else 0,
            "usage_in_kernelmode": counts.cpu_system if counts else 0,
            "usage_in_usermode": counts.cpu_user if counts else 0,
        },
        "throttling_data": {
            "periods": counts.periods if counts else 0,
            "throttled_periods": counts.throttled_periods if counts else 0,
            "throttled_time": counts.throttled_time if counts else 0,
        },
    }
    if sample and counts:
        found |= {"system_cpu_usage": sample.system, "online_cpus": os.cpu_count() or 1}
    return found


def _memory(counts: ContainerStats | None) -> dict[str, Any]:
    if counts is None:
        return {}
    found: dict[str, Any] = {"usage": counts.memory_usage, "stats": counts.memory_counts, "limit": counts.memory_limit}
    if counts.memory_max:
        found["max_usage"] = counts.memory_max
    return found
