"""What a running container uses, as its cgroups and its network namespace count it."""

from __future__ import annotations

import os
import time

from engine.cgroup.manager import Cgroups
from engine.errors import WrongState
from engine.paths import Roots
from engine.spec.state import ContainerRecord
from engine.spec.stream import ContainerStats

_UNLIMITED = 1 << 62
"""v1 says "no limit" by a number near 2^63."""


def read_stats(roots: Roots, record: ContainerRecord) -> ContainerStats:
    """See composer.run.port.Streams.stats. Raises WrongState when the container does not run."""
    if not record.state.status.alive:
        raise WrongState(f"container {record.spec.name} is not running")
    cgroups = Cgroups.of(roots)
    folders = cgroups.handle(record.group, record.id, record.spec.cgroup_parent).folders
    found = _unified(folders[""]) if "" in folders else _separate(folders)
    limit, whole = found.pop("memory_limit", 0), _memory_of_the_host()
    received, sent = (0, 0) if record.spec.network_mode == "host" else _network(record.state.pid)
    return ContainerStats(
        read_at=time.monotonic(),
        memory_limit=limit if 0 < limit < whole else whole,
        received=received,
        sent=sent,
        **found,
    )


def _unified(folder: str) -> dict[str, int]:
    counts = _table(f"{folder}/memory.stat")
    read, written = 0, 0
    for line in _lines(f"{folder}/io.stat"):
        fields = dict(part.partition("=")[::2] for part in line.split()[1:])
        read, written = read + int(fields.get("rbytes", 0)), written + int(fields.get("wbytes", 0))
    return {
        "cpu": _table(f"{folder}/cpu.stat").get("usage_usec", 0) * 1000,
        # As Docker shows it: page cache that the kernel can take back at once is not counted.
        "memory": max(_number(f"{folder}/memory.current") - counts.get("inactive_file", 0), 0),
        "memory_limit": _number(f"{folder}/memory.max"),
        "pids": _number(f"{folder}/pids.current"),
        "blocks_read": read,
        "blocks_written": written,
    }


def _separate(folders: dict[str, str]) -> dict[str, int]:
    memory, blocks = folders.get("memory", ""), folders.get("blkio", "")
    limit = _number(f"{memory}/memory.limit_in_bytes")
    read, written = 0, 0
    for line in _lines(f"{blocks}/blkio.throttle.io_service_bytes_recursive"):
        words = line.split()
        if len(words) == 3:
            read += int(words[2]) if words[1] == "Read" else 0
            written += int(words[2]) if words[1] == "Write" else 0
    usage = _number(f"{memory}/memory.usage_in_bytes")
    return {
        "cpu": _number(f"{folders.get('cpuacct', '')}/cpuacct.usage"),
        "memory": max(usage - _table(f"{memory}/memory.stat").get("total_inactive_file", 0), 0),
        "memory_limit": 0 if limit >= _UNLIMITED else limit,
        "pids": _number(f"{folders.get('pids', '')}/pids.current"),
        "blocks_read": read,
        "blocks_written": written,
    }


def _network(pid: int) -> tuple[int, int]:
    """Bytes received and sent by all links but loopback (proc_pid_net(5), dev)."""
    received = sent = 0
    for line in _lines(f"/proc/{pid}/net/dev"):
        name, colon, counters = line.partition(":")
        words = counters.split()
        if colon and name.strip() != "lo" and len(words) > 8:
            received, sent = received + int(words[0]), sent + int(words[8])
    return received, sent


def _memory_of_the_host() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _lines(path: str) -> list[str]:
    """A file's lines; none when its controller is not there or the container has just ended."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _number(path: str) -> int:
    text = (_lines(path) or ["0"])[0].strip()
    return int(text) if text.isdigit() else 0


def _table(path: str) -> dict[str, int]:
    rows = (line.split() for line in _lines(path))
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
