"""The common part of services, jobs and pre_start hooks: a container to run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from composer.model.build import Build
from composer.model.device import BlockIO, Device, DeviceRequest
from composer.model.element import Element, Pairs, Variables, Words
from composer.model.files import FileReference
from composer.model.healthcheck import Healthcheck
from composer.model.mount import Mount
from composer.model.quantities import Bytes, Duration
from composer.model.ulimit import Ulimits


class Dependency(Element):
    """`condition`: service_started, service_healthy, service_completed_successfully."""

    condition: str = "service_started"
    restart: bool = False
    required: bool = True


class Attachment(Element):
    """services.*.networks.*"""

    aliases: Words = ()
    interface_name: str = ""
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: Words = ()
    mac_address: str = ""
    driver_opts: Pairs = {}
    priority: int = 0
    gw_priority: int = 0


class Port(Element):
    """`published` is one port, a range, or "" for any free one; `mode`: ingress or host."""

    target: int
    published: str = ""
    host_ip: str = ""
    protocol: str = ""
    mode: str = ""
    name: str = ""
    app_protocol: str = ""


class Logging(Element):
    driver: str = ""
    options: Pairs = {}


class CredentialSpec(Element):
    config: str = ""
    file: str = ""
    registry: str = ""


class EnvFile(Element):
    path: str
    required: bool = True
    format: str = ""


class ModelReference(Element):
    """services.*.models.*"""

    endpoint_var: str = ""
    model_var: str = ""


def _env_files(value: Any) -> Any:
    files = [value] if isinstance(value, str) else value
    return [{"path": file} if isinstance(file, str) else file for file in files]


def _references(value: Any) -> Any:
    """["a"] → {"a": {}}; an empty value has no options."""
    if isinstance(value, list):
        return {name: {} for name in value}
    return {name: inner or {} for name, inner in value.items()} if isinstance(value, dict) else value


def _hosts(value: Any) -> Any:
    """{"a": ["1.2.3.4"]} → ["a=1.2.3.4"]."""
    if not isinstance(value, dict):
        return value
    return [f"{host}={ip}" for host, ips in value.items() for ip in ([ips] if isinstance(ips, str) else ips)]


def _gpus(value: Any) -> Any:
    return [{"count": -1}] if value == "all" else value


class Container(Element):
    """A container in canonical form. None for command and entrypoint means the image's; [] means none at all."""

    annotations: Pairs = {}
    blkio_config: BlockIO | None = None
    cap_add: Words = ()
    cap_drop: Words = ()
    cgroup: str = ""
    cgroup_parent: str = ""
    command: tuple[str, ...] | None = None
    configs: tuple[FileReference, ...] = ()
    cpu_count: int = 0
    cpu_percent: float = 0.0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpu_shares: int = 0
    cpus: float = 0.0
    cpuset: str = ""
    credential_spec: CredentialSpec | None = None
    device_cgroup_rules: Words = ()
    devices: tuple[Device, ...] = ()
    dns: Words = ()
    dns_opt: Words = ()
    dns_search: Words = ()
    domainname: str = ""
    entrypoint: tuple[str, ...] | None = None
    env_file: Annotated[tuple[EnvFile, ...], BeforeValidator(_env_files)] = ()
    environment: Variables = {}
    extra_hosts: Annotated[tuple[str, ...], BeforeValidator(_hosts)] = ()
    gpus: Annotated[tuple[DeviceRequest, ...], BeforeValidator(_gpus)] = ()
    group_add: Words = ()
    hostname: str = ""
    image: str = ""
    init: bool | None = None
    ipc: str = ""
    isolation: str = ""
    label_file: Words = ()
    labels: Pairs = {}
    logging: Logging | None = None
    mac_address: str = ""
    mem_limit: Bytes = 0
    mem_reservation: Bytes = 0
    mem_swappiness: int | None = None
    memswap_limit: Bytes = 0
    models: Annotated[dict[str, ModelReference], BeforeValidator(_references)] = {}
    network_mode: str = ""
    networks: Annotated[dict[str, Attachment], BeforeValidator(_references)] = {}
    oom_kill_disable: bool = False
    oom_score_adj: int = 0
    pid: str | None = None
    pids_limit: int = 0
    platform: str = ""
    privileged: bool = False
    pull_policy: str = ""
    read_only: bool = False
    runtime: str = ""
    secrets: tuple[FileReference, ...] = ()
    security_opt: Words = ()
    shm_size: Bytes = 0
    stop_grace_period: Duration | None = None
    stop_signal: str = ""
    storage_opt: Pairs = {}
    sysctls: Pairs = {}
    tmpfs: Words = ()
    ulimits: Ulimits = {}
    use_api_socket: bool = False
    user: str = ""
    userns_mode: str = ""
    uts: str = ""
    volumes: tuple[Mount, ...] = ()
    volumes_from: Words = ()
    working_dir: str = ""


class Workload(Container):
    """A container that the project builds, orders and publishes."""

    build: Build | None = None
    depends_on: Annotated[dict[str, Dependency], BeforeValidator(_references)] = {}
    expose: Words = ()
    healthcheck: Healthcheck | None = None
    ports: tuple[Port, ...] = ()
    profiles: Words = ()
    stdin_open: bool = False
    tty: bool = False
