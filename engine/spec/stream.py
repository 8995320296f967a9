"""What flows out of a container: log entries and resource usage."""

from msgspec import Struct


class LogEntry(Struct, frozen=True):
    """One entry of a container's log: `time` in nanoseconds since the epoch, `stream` stdout or stderr.

    `text` ends with a newline unless the entry is a part of a longer line.
    """

    time: int
    stream: str
    text: str


class ContainerStats(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container's use of resources at one moment, as its cgroup and network links count it.

    `cpu` is nanoseconds of processor time since the start, `read_at` seconds of the monotonic clock; sizes are bytes;
    `memory_limit` is the host's memory where there is no limit.
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
