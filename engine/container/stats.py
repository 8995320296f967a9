"""Resource usage of a running container, from its cgroups and its network namespace."""

from __future__ import annotations

import os
import time
from typing import Any

from engine.cgroup.manager import Cgroups
from engine.errors import WrongState
from engine.paths import Roots
from engine.spec.state import ContainerRecord
from engine.spec.stream import BlockCount, ContainerStats, LinkCounts

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""Nanoseconds of a clock tick."""
_UNLIMITED = 1 << 62
"""v1 expresses "no limit" as a number near 2^63."""


def read_stats(roots: Roots, record: ContainerRecord) -> ContainerStats:
    """See composer.run.port.Streams.stats. Raises WrongState if the container does not run."""
    if not record.state.status.alive:
        raise WrongState(f"container {record.spec.name} is not running")
    cgroups = Cgroups.of(roots)
    folders = cgroups.handle(record.group, record.id, record.spec.cgroup_parent).folders
    found = _unified(folders[""]) if "" in folders else _separate(folders)
    limit, whole = found.pop("memory_limit", 0), _memory_of_the_host()
    links = {} if record.spec.network_mode == "host" else _links(record.state.pid)
    blocks = found["blocks"]
    return ContainerStats(
        read_at=time.monotonic(),
        memory_limit=limit if 0 < limit < whole else whole,
        links=links,
        received=sum(link.rx_bytes for link in links.values()),
        sent=sum(link.tx_bytes for link in links.values()),
        blocks_read=sum(count.value for count in blocks if count.operation == "Read"),
        blocks_written=sum(count.value for count in blocks if count.operation == "Write"),
        **found,
    )


def _unified(folder: str) -> dict[str, Any]:
    counts, cpu = _table(f"{folder}/memory.stat"), _table(f"{folder}/cpu.stat")
    blocks = []
    for line in _lines(f"{folder}/io.stat"):
        device, *parts = line.split()
        fields = dict(part.partition("=")[::2] for part in parts)
        blocks += [
            _block(device, "Read", fields.get("rbytes", "0")),
            _block(device, "Write", fields.get("wbytes", "0")),
        ]
    usage = _number(f"{folder}/memory.current")
    return {
        "cpu": cpu.get("usage_usec", 0) * 1000,
        "cpu_user": cpu.get("user_usec", 0) * 1000,
        "cpu_system": cpu.get("system_usec", 0) * 1000,
        "periods": cpu.get("nr_periods", 0),
        "throttled_periods": cpu.get("nr_throttled", 0),
        "throttled_time": cpu.get("throttled_usec", 0) * 1000,
        # As in Docker, page cache that the kernel can reclaim at once is not counted.
        "memory": max(usage - counts.get("inactive_file", 0), 0),
        "memory_usage": usage,
        "memory_max": _number(f"{folder}/memory.peak"),
        "memory_counts": counts,
        "memory_limit": _number(f"{folder}/memory.max"),
        "pids": _number(f"{folder}/pids.current"),
        "blocks": tuple(blocks),
    }


def _block(device: str, operation: str, value: str) -> BlockCount:
    major, _, minor = device.partition(":")
    return BlockCount(major=int(major), minor=int(minor), operation=operation, value=int(value))


def _separate(folders: dict[str, str]) -> dict[str, Any]:
    memory, blocks, cpu = folders.get("memory", ""), folders.get("blkio", ""), folders.get("cpuacct", "")
    limit = _number(f"{memory}/memory.limit_in_bytes")
    counts = _table(f"{memory}/memory.stat")
    rows = [line.split() for line in _lines(f"{blocks}/blkio.throttle.io_service_bytes_recursive")]
    usage = _number(f"{memory}/memory.usage_in_bytes")
    ticks, throttling = _table(f"{cpu}/cpuacct.stat"), _table(f"{folders.get('cpu', '')}/cpu.stat")
    return {
        "cpu": _number(f"{cpu}/cpuacct.usage"),
        "cpu_user": ticks.get("user", 0) * _TICK,
        "cpu_system": ticks.get("system", 0) * _TICK,
        "periods": throttling.get("nr_periods", 0),
        "throttled_periods": throttling.get("nr_throttled", 0),
        "throttled_time": throttling.get("throttled_time", 0),
        "memory": max(usage - counts.get("total_inactive_file", 0), 0),
        "memory_usage": usage,
        "memory_max": _number(f"{memory}/memory.max_usage_in_bytes"),
        "memory_counts": counts,
        "memory_limit": 0 if limit >= _UNLIMITED else limit,
        "pids": _number(f"{folders.get('pids', '')}/pids.current"),
        "blocks": tuple(_block(*row) for row in rows if len(row) == 3 and row[1] in ("Read", "Write")),
    }


def _links(pid: int) -> dict[str, LinkCounts]:
    """All links but loopback of a process's network namespace (proc_pid_net(5), dev)."""
    found = {}
    for line in _lines(f"/proc/{pid}/net/dev"):
        name, colon, counters = line.partition(":")
        words = [int(word) for word in counters.split() if word.isdecimal()]
        if colon and name.strip() != "lo" and len(words) >= 12:
            received = dict(zip(("rx_bytes", "rx_packets", "rx_errors", "rx_dropped"), words[:4], strict=True))
            sent = dict(zip(("tx_bytes", "tx_packets", "tx_errors", "tx_dropped"), words[8:12], strict=True))
            found[name.strip()] = LinkCounts(**received, **sent)
    return found


def _memory_of_the_host() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _lines(path: str) -> list[str]:
    """A file's lines; none if its controller is missing or the container has just exited."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _number(path: str) -> int:
    text = (_lines(path) or ["0"])[0].strip()
    return int(text) if text.isdecimal() else 0


def _table(path: str) -> dict[str, int]:
    rows = (line.split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}
