"""The options of a command that affect its plan."""

from msgspec import Struct


class Options(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`action`: up, create, down, start, stop, restart, kill, pause, unpause, rm, run. `services` empty means all."""

    action: str
    services: tuple[str, ...] = ()
    # up, create
    force_recreate: bool = False
    no_recreate: bool = False
    always_recreate_deps: bool = False
    no_deps: bool = False
    no_start: bool = False
    remove_orphans: bool = False
    ignore_orphans: bool = False
    renew_anon_volumes: bool = False
    recreate_volumes: bool = False
    """Whether volumes that do not match the project may be recreated. Their data is lost."""
    scale: dict[str, int] = {}
    separator: str = "-"
    """Between the parts of a container's name; "_" with --compatibility."""
    all_resources: bool = False
    """Also create networks and volumes that no service uses."""
    attach: tuple[str, ...] = ()
    """Services whose containers start only after the command has attached to them."""
    wait: bool = False
    wait_timeout: float = 0.0
    # start, stop, restart, kill, pause, unpause, rm
    whole: bool = False
    """Without `services`, all containers of the project: also those of disabled services, and orphans."""
    # down, stop, restart, kill, rm
    volumes: bool = False
    timeout: float | None = None
    signal: str = ""
    force: bool = False
    stop: bool = False
    suspend: bool = False
    """stop: as part of a shutdown. The containers count as running for autostart."""
    parallel: int = -1
    # up in the foreground; does not touch running containers
    containers: tuple[str, ...] = ()
    """Act only on these container ids (one-off containers of `run`)."""

    @property
    def starts(self) -> bool:
        """up, create: whether containers are started."""
        return not self.no_start and self.action != "create"
