"""What flows out of a container: log entries and resource usage."""

from msgspec import Struct


class LogEntry(Struct, frozen=True):
    """One entry of a container's log: `time` in nanoseconds since the epoch, `stream` stdout or stderr.

    `text` ends with a newline unless the entry is a part of a longer line. `attrs`: the labels, variables and tag that the
    log options ask for with every line.
    """

    time: int
    stream: str
    text: str
    attrs: dict[str, str] = {}


class LinkCounts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a network link has carried (proc_pid_net(5), dev)."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


class BlockCount(Struct, frozen=True, kw_only=True):
    """Bytes that were read from or written to a block device; `operation` is Read or Write."""

    major: int
    minor: int
    operation: str
    value: int


class ContainerStats(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container's use of resources at one moment, as its cgroup and network links count it.

    `cpu` is nanoseconds of processor time since the start, `read_at` seconds of the monotonic clock; sizes are bytes;
    `memory_limit` is the host's memory where there is no limit. `memory` leaves out page cache that the kernel can take
    back at once, `memory_usage` does not; `memory_counts` is the cgroup's memory.stat. `links` are counted by name.
    """

    read_at: float
    cpu: int = 0
    memory: int = 0
    memory_limit: int = 0
    pids: int = 0
    received: int = 0
    sent: int = 0
    blocks_read: int = 0
    blocks_written: int = 0
    cpu_user: int = 0
    cpu_system: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0
    periods: int = 0
    memory_usage: int = 0
    memory_max: int = 0
    memory_counts: dict[str, int] = {}
    links: dict[str, LinkCounts] = {}
    blocks: tuple[BlockCount, ...] = ()


class PathStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a container's as stat(2) without following a last link sees it; `mode` has its type, too. `target`: the
    absolute path in the container to which a link leads in the end, "" when that does not exist."""

    name: str
    size: int
    mode: int
    modified_at: float
    target: str = ""
