"""Translate a client's request to the specification of a container (Docker Engine API 1.55, ContainerCreate).

Invalid values are refused with 400 and Docker's message. Unsupported fields are refused by name, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import to_builtins

from composer.serve.docker import body, create_check
from composer.serve.docker.create_mounts import mounts
from composer.serve.docker.create_resources import resources
from composer.serve.http.errors import BadRequest
from engine.spec.container import (
    Attachment,
    ContainerSpec,
    Device,
    DeviceRequest,
    Healthcheck,
    Logging,
    PortBinding,
    Restart,
    Ulimit,
)
from engine.vocabulary import RESTART_POLICIES, WITHOUT_NETWORKS

if TYPE_CHECKING:
    from engine.spec.image import ImageRecord

SECOND = 1_000_000_000


def specification(name: str, payload: body.Create, image: ImageRecord) -> ContainerSpec:
    """The specification of the requested container with the image `image`. Raises BadRequest."""
    host = payload.host_config or body.HostConfig()
    create_check.check(payload, host)
    mode = host.network_mode or "default"
    networks = _networks(payload, mode)
    shell = body.words(payload.cmd)
    return ContainerSpec(
        name=name,
        image=image.id,
        image_ref=payload.image or image.id,
        labels=payload.labels or {},
        annotations=host.annotations or {},
        entrypoint=_entrypoint(payload),
        command=shell if payload.cmd else None,
        environment=_environment(payload.env or ()),
        working_dir=payload.working_dir or "",
        user=payload.user or "",
        group_add=tuple(host.group_add or ()),
        tty=bool(payload.tty),
        console_size=body.console_size(host.console_size) or (0, 0),
        stdin_open=bool(payload.open_stdin),
        stdin_once=bool(payload.stdin_once),
        init=host.init,
        stop_signal=payload.stop_signal or "",
        stop_timeout=payload.stop_timeout,
        ulimits=tuple(Ulimit(name=one.name, soft=one.soft, hard=one.hard) for one in host.ulimits or ()),
        oom_score_adj=host.oom_score_adj or 0,
        hostname=payload.hostname or "",
        domainname=payload.domainname or "",
        extra_hosts=tuple(host_entry(text) for text in host.extra_hosts or ()),
        dns=tuple(host.dns or ()),
        dns_search=tuple(host.dns_search or ()),
        dns_opt=tuple(host.dns_options or ()),
        network_mode="" if networks else mode if mode in WITHOUT_NETWORKS or ":" in mode else "none",
        pid_mode=host.pid_mode or "",
        ipc_mode=host.ipc_mode or "",
        uts_mode=host.uts_mode or "",
        userns_mode=host.userns_mode or "",
        cgroup_mode=host.cgroupns_mode or "",
        cgroup_parent=host.cgroup_parent or "",
        networks=networks,
        links=tuple(_link(text) for text in host.links or ()),
        ports=_ports(payload, host, image),
        expose=tuple(sorted(payload.exposed_ports or ())),
        mounts=mounts(payload, host),
        volumes_from=tuple(host.volumes_from or ()),
        read_only=bool(host.readonly_rootfs),
        shm_size=host.shm_size or 0,
        storage_opt=host.storage_opt or {},
        privileged=bool(host.privileged),
        cap_add=body.words(host.cap_add),
        cap_drop=body.words(host.cap_drop),
        security_opt=tuple(host.security_opt or ()),
        masked_paths=None if host.masked_paths is None else tuple(host.masked_paths),
        read_only_paths=None if host.readonly_paths is None else tuple(host.readonly_paths),
        sysctls=host.sysctls or {},
        devices=tuple(_device(one) for one in host.devices or ()),
        device_cgroup_rules=tuple(host.device_cgroup_rules or ()),
        device_requests=tuple(_device_request(one) for one in host.device_requests or ()),
        resources=resources(host),
        healthcheck=_healthcheck(payload.healthcheck),
        restart=restart_policy(host.restart_policy or body.RestartPolicy(), auto_remove=bool(host.auto_remove)),
        logging=_logging(host),
        host_config=to_builtins(host),
    )


def _environment(entries: Iterable[str]) -> dict[str, str | None]:
    """The variables: `NAME=value` sets one; `NAME` alone removes the image's. Raises BadRequest."""
    found: dict[str, str | None] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name:
            raise BadRequest(f"invalid environment variable: {entry}")
        found[name] = value if equals else None
    return found


def host_entry(text: str) -> tuple[str, str]:
    name, colon, address = text.replace("=", ":", 1).partition(":")
    if not name or not colon or not address:
        raise BadRequest(f'bad format for add-host: "{text}"')
    return name, address.strip("[]")


def _link(text: str) -> tuple[str, str]:
    name, _, alias = text.partition(":")
    name = name.removeprefix("/")
    return name, alias.rpartition("/")[2] or name


def _networks(payload: body.Create, mode: str) -> tuple[Attachment, ...]:
    """The networks to connect to: those of EndpointsConfig (several since API 1.44), NetworkMode's first, or that one alone."""
    if payload.network_disabled or mode in WITHOUT_NETWORKS or mode.startswith("container:"):
        return ()
    first = "bridge" if mode == "default" else mode
    given = dict((payload.networking_config and payload.networking_config.endpoints_config) or {})
    if "default" in given:
        given.setdefault("bridge", given.pop("default"))
    names = dict.fromkeys([first, *given] if first in given or not given else given)
    found = []
    for position, name in enumerate(names):
        mac = payload.mac_address or "" if not position else ""
        found.append(attachment(name, given.get(name) or body.Endpoint(), mac_address=mac))
    return tuple(found)


def attachment(network: str, endpoint: body.Endpoint, *, mac_address: str = "") -> Attachment:
    """The attachment to a network; `mac_address` is the default."""
    ipam = endpoint.ipam_config or body.EndpointIPAM()
    return Attachment(
        network=network,
        aliases=tuple(endpoint.aliases or ()),
        ipv4_address=ipam.ipv4_address or "",
        ipv6_address=ipam.ipv6_address or "",
        link_local_ips=tuple(ipam.link_local_ips or ()),
        mac_address=endpoint.mac_address or mac_address,
        gw_priority=endpoint.gw_priority or 0,
        driver_opts=endpoint.driver_opts or {},
        links=tuple(_link(text) for text in endpoint.links or ()),
    )


def _ports(payload: body.Create, host: body.HostConfig, image: ImageRecord) -> tuple[PortBinding, ...]:
    """Published ports. An empty HostPort means a free port; PublishAllPorts publishes all exposed ports on free
    ports."""
    found = []
    for key, bindings in (host.port_bindings or {}).items():
        port, protocol = _port(key)
        for binding in bindings or [body.PortBinding()]:
            text = binding.host_port or ""
            if (text and not re.fullmatch("[0-9]{1,5}(-[0-9]{1,5})?", text)) or any(
                int(p) > 65535 for p in text.split("-") if p
            ):
                raise BadRequest(f"invalid port specification: {text!r}")
            found.append(
                PortBinding(
                    container_port=port,
                    protocol=protocol,
                    host_ip=binding.host_ip or "",
                    host_port="" if text == "0" else text,
                )
            )
    if host.publish_all_ports:
        taken = {(binding.container_port, binding.protocol) for binding in found}
        for key in sorted({*(payload.exposed_ports or ()), *image.config.exposed_ports}):
            port, protocol = _port(key)
            if (port, protocol) not in taken:
                found.append(PortBinding(container_port=port, protocol=protocol))
    return tuple(found)


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    protocol = protocol or "tcp"
    if not re.fullmatch("[0-9]{1,5}", number) or not 0 < int(number) < 65536 or protocol not in ("tcp", "udp", "sctp"):
        raise BadRequest(f"invalid port specification: {text!r}")
    return int(number), protocol


def _entrypoint(payload: body.Create) -> tuple[str, ...] | None:
    """None keeps the image's entrypoint; [""] removes it."""
    if payload.entrypoint is None:
        return None
    words = body.words(payload.entrypoint)
    return () if words == ("",) else words


def _device_request(payload: body.DeviceRequest) -> DeviceRequest:
    return DeviceRequest(
        driver=payload.driver or "",
        count=payload.count or 0,
        device_ids=tuple(payload.device_ids or ()),
        capabilities=tuple(word for words in payload.capabilities or () for word in words),
    )


def _device(payload: body.Device) -> Device:
    return Device(
        path_on_host=payload.path_on_host,
        path_in_container=payload.path_in_container or payload.path_on_host,
        permissions=payload.cgroup_permissions or "rwm",
    )


def _healthcheck(payload: body.Healthcheck | None) -> Healthcheck | None:
    """The healthcheck. Durations are whole nanoseconds; 0 means the image's or the default. Raises BadRequest."""
    if payload is None:
        return None
    for name, value in (
        ("Interval", payload.interval),
        ("Timeout", payload.timeout),
        ("StartPeriod", payload.start_period),
        ("StartInterval", payload.start_interval),
    ):
        if value and value < 1_000_000:
            raise BadRequest(f"{name} in Healthcheck cannot be less than 1ms")
    if payload.retries and payload.retries < 0:
        raise BadRequest("Retries in Healthcheck cannot be negative")
    found = Healthcheck(
        test=tuple(payload.test) if payload.test else None,
        interval=payload.interval / SECOND if payload.interval else None,
        timeout=payload.timeout / SECOND if payload.timeout else None,
        retries=payload.retries or None,
        start_period=payload.start_period / SECOND if payload.start_period else None,
        start_interval=payload.start_interval / SECOND if payload.start_interval else None,
    )
    return None if found == Healthcheck() else found


def restart_policy(payload: body.RestartPolicy, *, auto_remove: bool) -> Restart:
    """The restart policy. Raises BadRequest with Docker's message."""
    policy, count = payload.name or "no", payload.maximum_retry_count or 0
    if policy not in RESTART_POLICIES:
        known = ", ".join(f"'{name}'" for name in RESTART_POLICIES[:-1])
        raise BadRequest(
            f"invalid restart policy: unknown policy '{policy}'; use one of {known}, or '{RESTART_POLICIES[-1]}'"
        )
    if count and policy != "on-failure":
        raise BadRequest("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if count < 0:
        raise BadRequest("invalid restart policy: maximum retry count cannot be negative")
    if auto_remove and policy != "no":
        raise BadRequest("can't create 'AutoRemove' container with restart policy")
    return Restart(policy=policy, max_retries=count)


def _logging(host: body.HostConfig) -> Logging:
    payload = host.log_config or body.LogConfig()
    return Logging(driver=payload.type or "", options=payload.config or {})
