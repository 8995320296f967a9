"""The body of `POST /containers/create` (Docker Engine API 1.55, ContainerCreate), and decoding of JSON objects as Go
does it.

null, "" and 0 mean unset; field names are case-insensitive; unknown fields are reported to the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field

from composer.serve.http.errors import BadRequest

T = TypeVar("T", bound=Struct)
Words = list[str] | str | None
"""Docker also accepts a single string for a list of words (strslice)."""


class Body(Struct, kw_only=True, rename="pascal"):
    """A part of a request. Every field can be null."""


class Healthcheck(Body):
    test: list[str] | None = None
    interval: int | None = None
    timeout: int | None = None
    retries: int | None = None
    start_period: int | None = None
    start_interval: int | None = None


class PortBinding(Body):
    host_ip: str | None = None
    host_port: str | None = None


class LogConfig(Body):
    type: str | None = None
    config: dict[str, str] | None = None


class RestartPolicy(Body):
    name: str | None = None
    maximum_retry_count: int | None = None


class Ulimit(Body):
    name: str
    soft: int = 0
    hard: int = 0


class Rate(Body):
    path: str
    rate: int = 0


class Weight(Body):
    path: str
    weight: int = 0


class Device(Body):
    path_on_host: str
    path_in_container: str | None = None
    cgroup_permissions: str | None = None


class DeviceRequest(Body):
    driver: str | None = None
    count: int | None = None
    device_ids: list[str] | None = field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class BindOptions(Body):
    propagation: str | None = None
    non_recursive: bool | None = None
    create_mountpoint: bool | None = None
    read_only_non_recursive: bool | None = None
    read_only_force_recursive: bool | None = None


class DriverConfig(Body):
    name: str | None = None
    options: dict[str, str] | None = None


class VolumeOptions(Body):
    no_copy: bool | None = None
    labels: dict[str, str] | None = None
    driver_config: DriverConfig | None = None
    subpath: str | None = None


class ImageOptions(Body):
    subpath: str | None = None


class TmpfsOptions(Body):
    size_bytes: int | None = None
    mode: int | None = None
    options: list[list[str]] | None = None


class Mount(Body):
    type: str | None = None
    source: str | None = None
    target: str | None = None
    read_only: bool | None = None
    consistency: str | None = None
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class EndpointIPAM(Body):
    ipv4_address: str | None = field(default=None, name="IPv4Address")
    ipv6_address: str | None = field(default=None, name="IPv6Address")
    link_local_ips: list[str] | None = field(default=None, name="LinkLocalIPs")


class Endpoint(Body):
    """A client's settings for one network. Docker ignores the other fields of EndpointSettings, and so do we."""

    ipam_config: EndpointIPAM | None = field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str | None = None
    driver_opts: dict[str, str] | None = None
    gw_priority: int | None = None
    network_id: str | None = field(default=None, name="NetworkID")
    endpoint_id: str | None = field(default=None, name="EndpointID")
    gateway: str | None = None
    ip_address: str | None = field(default=None, name="IPAddress")
    ip_prefix_len: int | None = field(default=None, name="IPPrefixLen")
    ipv6_gateway: str | None = field(default=None, name="IPv6Gateway")
    global_ipv6_address: str | None = field(default=None, name="GlobalIPv6Address")
    global_ipv6_prefix_len: int | None = field(default=None, name="GlobalIPv6PrefixLen")
    dns_names: list[str] | None = field(default=None, name="DNSNames")


class Networking(Body):
    endpoints_config: dict[str, Endpoint | None] | None = None


class Limits(Body):
    """The part of HostConfig that `POST /containers/{id}/update` also accepts (Resources)."""

    blkio_device_read_bps: list[Rate] | None = None
    blkio_device_read_iops: list[Rate] | None = field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_bps: list[Rate] | None = None
    blkio_device_write_iops: list[Rate] | None = field(default=None, name="BlkioDeviceWriteIOps")
    blkio_weight: int | None = None
    blkio_weight_device: list[Weight] | None = None
    cgroup_parent: str | None = None
    cpu_count: int | None = None
    cpu_percent: int | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpu_realtime_period: int | None = None
    cpu_realtime_runtime: int | None = None
    cpu_shares: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    devices: list[Device] | None = None
    io_maximum_bandwidth: int | None = field(default=None, name="IOMaximumBandwidth")
    io_maximum_iops: int | None = field(default=None, name="IOMaximumIOps")
    kernel_memory: int | None = None
    kernel_memory_tcp: int | None = field(default=None, name="KernelMemoryTCP")
    memory: int | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None
    memory_swappiness: int | None = None
    nano_cpus: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None


class HostConfig(Limits):
    annotations: dict[str, str] | None = None
    auto_remove: bool | None = None
    binds: list[str] | None = None
    cap_add: Words = None
    cap_drop: Words = None
    cgroup: str | None = None
    cgroupns_mode: str | None = None
    console_size: list[int] | None = None
    container_id_file: str | None = field(default=None, name="ContainerIDFile")
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    init: bool | None = None
    ipc_mode: str | None = None
    isolation: str | None = None
    links: list[str] | None = None
    log_config: LogConfig | None = None
    masked_paths: list[str] | None = None
    mounts: list[Mount] | None = None
    network_mode: str | None = None
    oom_score_adj: int | None = None
    pid_mode: str | None = None
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    privileged: bool | None = None
    publish_all_ports: bool | None = None
    readonly_paths: list[str] | None = None
    readonly_rootfs: bool | None = None
    restart_policy: RestartPolicy | None = None
    runtime: str | None = None
    security_opt: list[str] | None = None
    shm_size: int | None = None
    storage_opt: dict[str, str] | None = None
    sysctls: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str | None = field(default=None, name="UTSMode")
    userns_mode: str | None = None
    volume_driver: str | None = None
    volumes_from: list[str] | None = None


class Create(Body):
    args_escaped: bool | None = None
    attach_stderr: bool | None = None
    attach_stdin: bool | None = None
    attach_stdout: bool | None = None
    cmd: Words = None
    domainname: str | None = None
    entrypoint: Words = None
    env: list[str] | None = None
    exposed_ports: dict[str, dict[str, str] | None] | None = None
    healthcheck: Healthcheck | None = None
    host_config: HostConfig | None = None
    hostname: str | None = None
    image: str | None = None
    labels: dict[str, str] | None = None
    mac_address: str | None = None
    network_disabled: bool | None = None
    networking_config: Networking | None = None
    on_build: list[str] | None = None
    open_stdin: bool | None = None
    shell: list[str] | None = None
    stdin_once: bool | None = None
    stop_signal: str | None = None
    stop_timeout: int | None = None
    tty: bool | None = None
    user: str | None = None
    volumes: dict[str, dict[str, str] | None] | None = None
    working_dir: str | None = None


def words(value: Words) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def console_size(payload: list[int] | None) -> tuple[int, int] | None:
    """Initial rows and columns of the terminal; None if unset. Raises BadRequest."""
    if not payload or not any(payload):
        return None
    if len(payload) != 2 or not all(0 <= one < 1 << 16 for one in payload):
        raise BadRequest(f"invalid ConsoleSize: {payload}")
    return payload[0], payload[1]


def shaped(raw: object, type: type[T]) -> tuple[T, list[str]]:
    """A decoded JSON object as `type`, and the paths of unknown fields. Raises BadRequest for an invalid value."""
    if not isinstance(raw, dict):
        raise BadRequest("invalid JSON: the body must be an object")
    unknown: list[str] = []
    renamed = _renamed(raw, type, "", unknown)
    try:
        return msgspec.convert(renamed, type), unknown
    except msgspec.ValidationError as error:
        raise BadRequest(f"invalid JSON: {error}") from None


def _renamed(value: object, type_: Any, path: str, unknown: list[str]) -> object:
    """The value with keys spelled as in the structures, without unknown ones."""
    structure = next((one for one in _parts(type_) if isinstance(one, type) and issubclass(one, Struct)), None)
    if structure is not None and isinstance(value, dict):
        known = _fields(structure)
        found = {}
        for key, inner in value.items():
            place = f"{path}.{key}" if path else str(key)
            if (entry := known.get(str(key).lower())) is None:
                unknown.append(place)
                continue
            name, inner_type = entry
            found[name] = _renamed(inner, inner_type, place, unknown)
        return found
    for one in _parts(type_):
        arguments: tuple[Any, ...] = getattr(one, "__args__", ())
        if isinstance(value, list) and getattr(one, "__origin__", None) is list:
            return [_renamed(inner, arguments[0], f"{path}[{index}]", unknown) for index, inner in enumerate(value)]
        if isinstance(value, dict) and getattr(one, "__origin__", None) is dict:
            return {key: _renamed(inner, arguments[1], f"{path}.{key}", unknown) for key, inner in value.items()}
    return value


def _parts(type_: Any) -> Iterator[Any]:
    """The members of a union, or the type itself."""
    if hasattr(type_, "__args__") and getattr(type_, "__origin__", None) not in (list, dict, tuple):
        yield from type_.__args__
    else:
        yield type_


@cache
def _fields(structure: type[Struct]) -> dict[str, tuple[str, Any]]:
    return {one.encode_name.lower(): (one.encode_name, one.type) for one in msgspec.structs.fields(structure)}
