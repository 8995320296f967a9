"""A container's specification. Field names follow Docker's API and the compose specification."""

from typing import Any

from msgspec import Struct, field
from msgspec.json import Decoder


class Mount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry below the container's root (compose-spec, services.volumes, tmpfs, configs, secrets).

    `type`: bind (source: host path), volume (source: volume name, "" for anonymous), tmpfs, image (source: image id),
    file (source: host path, or `content`; placed on a tmpfs with uid, gid and mode honoured).
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    # bind
    propagation: str = ""
    create_host_path: bool = True
    recursive: str = ""
    selinux: str = ""
    # volume and image
    nocopy: bool = False
    subpath: str = ""
    labels: dict[str, str] = {}
    """Labels of the anonymous volume that is created for the mount."""
    # tmpfs
    size: int = 0
    mode: int | None = None
    # tmpfs, and what mount(8) calls the options that belong to one mount of a bind
    options: tuple[str, ...] = ()
    # file
    content: str | None = None
    uid: int = 0
    gid: int = 0


class Attachment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One network the container joins; `network` is the network's name in the engine. `avoid`: addresses reserved for
    other containers. `links`: (name of another container, its alias for this one)."""

    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""
    avoid: tuple[str, ...] = ()
    link_local_ips: tuple[str, ...] = ()
    mac_address: str = ""
    interface_name: str = ""
    priority: int = 0
    gw_priority: int = 0
    driver_opts: dict[str, str] = {}
    links: tuple[tuple[str, str], ...] = ()


class Membership(Struct, frozen=True, kw_only=True):
    """The networks that an existing container is to have. `labels` replace those of the same name."""

    container_id: str
    networks: tuple[Attachment, ...]
    labels: dict[str, str] = {}


class PortBinding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A published port. In a specification `host_port` may be "" (any free), "8080" or "8000-8010" (first free); in a
    state it is the bound port."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: str = ""


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device file, or a folder of them. `permissions` of "": the file is there, and may not be opened.

    With a `kind` (c, b, p for a FIFO) and numbers the host's file is not asked; `mode`, `uid` and `gid` of None are its.
    """

    path_on_host: str
    path_in_container: str
    permissions: str = "rwm"
    kind: str = ""
    major: int = 0
    minor: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class Ulimit(Struct, frozen=True, kw_only=True):
    name: str
    soft: int
    hard: int


class BlkioRule(Struct, frozen=True, kw_only=True):
    """A weight or a rate (bytes or operations a second) for the block device at `path`."""

    path: str
    value: int


LEAST_MEMORY = 6 * 1024 * 1024
"""Docker's lower limit for `Resources.memory` in bytes, below which hardly any program starts."""


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits for the cgroup. 0 and "" mean no limit was asked for; `memory_swap` -1 means unlimited swap."""

    cpus: float = 0.0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpu_rt_runtime: int = 0
    cpu_rt_period: int = 0
    cpuset: str = ""
    cpuset_mems: str = ""
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    pids_limit: int = 0
    blkio_weight: int = 0
    blkio_weight_device: tuple[BlkioRule, ...] = ()
    device_read_bps: tuple[BlkioRule, ...] = ()
    device_read_iops: tuple[BlkioRule, ...] = ()
    device_write_bps: tuple[BlkioRule, ...] = ()
    device_write_iops: tuple[BlkioRule, ...] = ()


class DeviceRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """gpus and deploy.resources.reservations.devices; resolved with CDI specifications."""

    driver: str = ""
    count: int = 0
    device_ids: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


class Healthcheck(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`test` as in the image specification: NONE | CMD argv… | CMD-SHELL text. Durations in seconds.

    None means the image's value, or else Docker's default (30, 30, 3, 0, 5).
    """

    test: tuple[str, ...] | None = None
    interval: float | None = None
    timeout: float | None = None
    retries: int | None = None
    start_period: float | None = None
    start_interval: float | None = None


class Logging(Struct, frozen=True, kw_only=True, omit_defaults=True):
    driver: str = ""
    options: dict[str, str] = {}


class Restart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """no, always, on-failure, unless-stopped; at most `max_retries` times, 0 for no limit."""

    policy: str = "no"
    max_retries: int = 0


class ContainerSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The complete specification of a container, written at its creation; only its networks can change later.

    None for entrypoint, command, working_dir, user … means the image's value. `image` is an image id (sha256:…),
    `image_ref` the requested name. Modes (pid, ipc, …) are "", host, private, shareable, none, or container:<id>;
    `network_mode` also bridge; with a network_mode of host, none or container:<id> `networks` is empty. `links`: (name,
    alias) pairs; the alias is an additional name of `name`, for this container only.
    """

    name: str
    image: str
    image_ref: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    # process
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: dict[str, str | None] = {}
    working_dir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    """Rows and columns of the terminal when the program starts; 0 for the kernel's default."""
    stdin_open: bool = False
    stdin_once: bool = False
    init: bool | None = None
    stop_signal: str = ""
    stop_timeout: float | None = None
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int = 0
    # identity
    hostname: str = ""
    domainname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    # namespaces
    network_mode: str = ""
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    userns_mode: str = ""
    cgroup_mode: str = ""
    cgroup_parent: str = ""
    networks: tuple[Attachment, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    ports: tuple[PortBinding, ...] = ()
    expose: tuple[str, ...] = ()
    # file system
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    read_only: bool = False
    shm_size: int = 0
    storage_opt: dict[str, str] = {}
    # security
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] | None = None
    read_only_paths: tuple[str, ...] | None = None
    sysctls: dict[str, str] = {}
    devices: tuple[Device, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    resources: Resources = field(default_factory=Resources)
    # care
    healthcheck: Healthcheck | None = None
    restart: Restart = field(default_factory=Restart)
    logging: Logging = field(default_factory=Logging)
    host_config: dict[str, Any] = {}
    """The HostConfig that a client of the Docker API sent, kept so that the API returns it unchanged."""


class ExecSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A further process in a running container (docker exec)."""

    args: tuple[str, ...]
    environment: dict[str, str | None] = {}
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    privileged: bool = False


PIPE = -2
"""In place of a descriptor for a stream of `exec_process`: the caller reads or writes the process's pipe itself."""

decode_spec = Decoder(ContainerSpec).decode
"""A ContainerSpec from JSON. Decoders of our types are created when the module is imported, never in a thread: threads
that decode a type concurrently for the first time crash msgspec 0.22 (a segmentation fault)."""
