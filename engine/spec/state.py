"""A container's state, and the records that the engine returns."""

import enum

from msgspec import Struct, field
from msgspec.json import Decoder

from engine.spec.container import ContainerSpec, PortBinding


class Status(enum.Enum):
    """Docker's container states, with guards for the operations that each allows."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"

    @property
    def can_start(self) -> bool:
        return self in (Status.CREATED, Status.EXITED, Status.RESTARTING)

    @property
    def can_kill(self) -> bool:
        return self in (Status.RUNNING, Status.PAUSED)

    @property
    def can_pause(self) -> bool:
        return self is Status.RUNNING

    @property
    def can_exec(self) -> bool:
        return self is Status.RUNNING

    @property
    def can_remove(self) -> bool:
        return self not in (Status.RUNNING, Status.PAUSED, Status.RESTARTING)

    @property
    def alive(self) -> bool:
        """A process of the container may exist."""
        return self in (Status.RUNNING, Status.PAUSED)

    @property
    def up(self) -> bool:
        """States that Docker lists without --all: alive, or about to be restarted."""
        return self.alive or self is Status.RESTARTING


class Probe(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of a healthcheck; times are seconds since the epoch, `output` its first 4,096 bytes."""

    start: float
    end: float
    exit_code: int
    output: str = ""


class Health(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`status`: starting, healthy, unhealthy. `log` holds the last five probes."""

    status: str
    failing_streak: int = 0
    log: tuple[Probe, ...] = ()


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container's addresses on one network. `host_interface`: the host's end of its link, "" where that is on the
    host's own LAN. A gateway of 0.0.0.0 or :: is the link itself."""

    network: str
    interface: str = ""
    host_interface: str = ""
    mac_address: str = ""
    ipv4_address: str = ""
    ipv4_prefix: int = 0
    ipv4_gateway: str = ""
    ipv6_address: str = ""
    ipv6_prefix: int = 0
    ipv6_gateway: str = ""
    aliases: tuple[str, ...] = ()


class ContainerExit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """exit.json, written by the keeper when a container's first process has ended (128+n for signal n)."""

    exit_code: int
    finished_at: float
    oom_killed: bool = False
    pid: int = 0


INTERRUPTED = "its start was interrupted"
"""The error of a container whose supervisor was killed before its program was executed."""


class ContainerState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container's state file. Times are seconds since the epoch, 0 for never.

    A process is identified by pid, its start time (clock ticks, proc_pid_stat(5) field 22) and the boot id, so that
    a recycled pid or an earlier boot is recognised.
    """

    status: Status = Status.CREATED
    pid: int = 0
    pid_start: int = 0
    boot_id: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    restart_count: int = 0
    stopped_by_user: bool = False
    stopping: bool = False
    """Its stop has begun. If this is set and no process is stopping it, parts of it may have exited."""
    returns: bool = False
    """It is being restarted: followers of its output stay connected."""
    health: Health | None = None
    endpoints: tuple[Endpoint, ...] = ()
    rejoining: tuple[str, ...] | None = None
    """While its networks are being changed: those that it leaves and joins again."""
    ports: tuple[PortBinding, ...] = ()
    anonymous_volumes: tuple[str, ...] = ()
    exit_history: tuple[ContainerExit, ...] = ()
    """Exits of the latest runs before this one, for followers that missed the time between an exit and the next
    start."""


class ContainerRecord(Struct, frozen=True, kw_only=True):
    """A container as listings give it."""

    id: str
    group: str
    spec: ContainerSpec
    state: ContainerState = field(default_factory=ContainerState)


decode_state = Decoder(ContainerState).decode
decode_exit = Decoder(ContainerExit).decode
