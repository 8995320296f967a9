"""What a command asks for, beside the project: the flags that decide a plan."""

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
    """Volumes that do not match the project may be recreated; their data is lost."""
    scale: dict[str, int] = {}
    separator: str = "-"
    """Between the parts of a container's name; "_" with --compatibility."""
    all_resources: bool = False
    """Make networks and volumes that no service uses, too."""
    attach: tuple[str, ...] = ()
    """Services whose containers start when the command has attached to them."""
    wait: bool = False
    wait_timeout: float = 0.0
    # down, stop, restart, kill, rm
    volumes: bool = False
    timeout: float | None = None
    signal: str = ""
    force: bool = False
    stop: bool = False
    suspend: bool = False
    """stop: as a machine that goes down does it; it is not the user's wish that they stay stopped."""
    parallel: int = -1
    # up in the foreground, with --no-recreate's kind of care for what runs
    containers: tuple[str, ...] = ()
    """Act on these container ids alone (one-off containers of `run`)."""
