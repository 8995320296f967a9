"""bundle.json, which engine.container.bundle writes and a keeper executes. Types only; not imported at run time."""

from typing import NotRequired, Required, TypedDict

from engine.kernel.idmap import Range
from engine.log.settings import LogSettings


class UserMaps(TypedDict):
    """The id maps of a private user namespace: ranges inside, outside, count."""

    uids: list[Range]
    gids: list[Range]


class RootFs(TypedDict):
    """The parts of the overlay. `layers` are below `layers_folder`, lowest first."""

    layers_folder: str
    layers: list[str]
    upper: str
    work: str
    root: str
    features: str
    read_only: NotRequired[bool]


class Entry(TypedDict, total=False):
    """A mount; its other fields depend on its type. See engine.keeper.child.mounts."""

    type: Required[str]
    """bind, tmpfs, image, file, attributes, or a kernel file system: proc, sysfs, devpts, mqueue, cgroup2."""
    target: Required[str]
    source: str
    flags: list[str]
    cleared: list[str]
    data: str | None
    mode: int
    # bind
    folder: bool
    subpath: str
    recursive: bool
    writable_below: bool
    propagation: str
    idmap: str
    """no, try, required."""
    of: str
    """The file of the mount namespace that has the source; absent for ours."""
    # image
    image: str
    layers: list[str]
    staging: str
    features: str
    within: str
    upper: str
    work: str
    # file
    content: str | None
    uid: int
    gid: int
    read_only: bool


class Device(TypedDict):
    """A device file: `path` in the container, `source` on the host. `kind`: c, b or p (a FIFO)."""

    path: str
    source: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    permissions: NotRequired[str]
    """Of r, w and m, for the device cgroup."""


class Capabilities(TypedDict):
    """Bit masks (capabilities(7))."""

    bounding: int
    effective: int


class Process(TypedDict):
    args: list[str]
    env: dict[str, str]
    cwd: str
    user: str
    groups: list[str]
    tty: bool
    stdin: bool
    stdin_once: bool
    rlimits: list[tuple[int, int, int]]
    """Resource, soft and hard limit."""
    capabilities: Capabilities
    no_new_privs: bool
    apparmor: str
    seccomp: str
    own_filter: NotRequired[bool]
    """Whether `seccomp` is the user's profile and not ours. If absent, it may be."""
    oom_score_adj: int
    init: bool
    hostname_variable: NotRequired[bool]
    """Whether HOSTNAME is set; true if absent."""
    console_size: NotRequired[tuple[int, int]]
    """Rows and columns of a new terminal."""


class ExecProcess(TypedDict, total=False):
    """The settings of a further process that differ from the container's."""

    args: Required[list[str]]
    env: Required[dict[str, str]]
    tty: bool
    user: str
    cwd: str
    console_size: tuple[int, int]


class Bundle(TypedDict):
    namespaces: dict[str, str]
    """Kind → "new", "host" or the path of a namespace file."""
    user: UserMaps | None
    rootfs: RootFs
    mounts: list[Entry]
    devices: list[Device]
    privileged: bool
    masked_paths: list[str]
    read_only_paths: list[str]
    sysctls: dict[str, str]
    cgroup_procs: list[str]
    oom_files: list[str]
    dns: int | None
    """The port of the embedded DNS server's sockets; 0: any; None: there are none."""
    hostname: str
    domainname: str
    process: Process
    log: LogSettings
    run_folder: str
    exit_file: str
