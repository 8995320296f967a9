"""A container as `GET /containers/{id}/json` and the listing show it (Docker Engine API 1.55, ContainerInspect)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.view import lookup as finding
from composer.view.api_format import timestamp
from composer.view.host_config import host_config
from composer.view.start_errors import words
from engine.spec.state import Status
from engine.vocabulary import PREDEFINED_NETWORKS, WITHOUT_NETWORKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composer.run.port import Engine
    from engine.spec.container import ContainerSpec, Healthcheck
    from engine.spec.image import ImageConfig
    from engine.spec.network import NetworkRecord
    from engine.spec.state import ContainerRecord, Endpoint


def inspected(engine: Engine, record: ContainerRecord, config: ImageConfig | None) -> dict[str, Any]:
    spec = record.spec
    command = command_line(spec, config)
    folder = engine.folder(record.group, record.id)
    return {
        "Id": record.id,
        "Created": timestamp(record.state.created_at),
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": state(record),
        "Image": spec.image,
        "ResolvConfPath": f"{folder}/resolv.conf",
        "HostnamePath": f"{folder}/hostname",
        "HostsPath": f"{folder}/hosts",
        "LogPath": f"{folder}/json.log" if (spec.logging.driver or "json-file") == "json-file" else "",
        "Name": f"/{spec.name}",
        "RestartCount": record.state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config(spec),
        "GraphDriver": {
            "Name": "overlay2",
            "Data": {"ID": record.id, "UpperDir": f"{folder}/upper", "WorkDir": f"{folder}/work"},
        },
        "Mounts": mounts(engine, record),
        "Config": config_of(record, config),
        "NetworkSettings": network_settings(engine, record),
    }


def command_line(spec: ContainerSpec, config: ImageConfig | None) -> list[str]:
    entrypoint, command = _words(spec, config)
    return [*entrypoint, *command]


def _words(spec: ContainerSpec, config: ImageConfig | None) -> tuple[Sequence[str], Sequence[str]]:
    """Entrypoint and command. As in Docker, a new entrypoint discards the image's command."""
    inherits = config is not None and spec.entrypoint is None
    entrypoint = spec.entrypoint if spec.entrypoint is not None else (config.entrypoint if config else ())
    command = spec.command if spec.command is not None else (config.command if config and inherits else ())
    return entrypoint, command


def state(record: ContainerRecord) -> dict[str, Any]:
    now = record.state
    status = now.status
    found: dict[str, Any] = {
        "Status": status.value,
        "Running": status.up,
        "Paused": status is Status.PAUSED,
        "Restarting": status is Status.RESTARTING,
        "OOMKilled": now.oom_killed,
        "Dead": status is Status.DEAD,
        "Pid": now.pid if status.alive else 0,
        "ExitCode": 0 if status.alive else now.exit_code,
        "Error": words(now.error, name=record.spec.name, endpoint=record.id),
        "StartedAt": timestamp(now.started_at),
        "FinishedAt": timestamp(now.finished_at),
    }
    if now.health is not None:
        found["Health"] = {
            "Status": now.health.status,
            "FailingStreak": now.health.failing_streak,
            "Log": [
                {
                    "Start": timestamp(probe.start),
                    "End": timestamp(probe.end),
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                }
                for probe in now.health.log
            ],
        }
    return found


def config_of(record: ContainerRecord, config: ImageConfig | None) -> dict[str, Any]:
    spec = record.spec
    entrypoint, command = _words(spec, config)
    return {
        "Hostname": spec.hostname or ("" if spec.network_mode == "host" else record.id[:12]),
        "Domainname": spec.domainname,
        "User": spec.user or (config.user if config else ""),
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin_open,
        "StdinOnce": spec.stdin_once,
        "Env": _environment(spec, config) or None,
        "Cmd": list(command) if command else None,
        "Image": spec.image_ref or spec.image,
        "Volumes": {path: {} for path in _volumes(record, config)} or None,
        "WorkingDir": spec.working_dir or (config.working_dir if config else ""),
        "Entrypoint": list(entrypoint) if entrypoint else None,
        "OnBuild": list(config.on_build) if config and config.on_build else None,
        "Labels": {**(config.labels if config else {}), **finding.labels(record)},
        **_optional(spec, config),
    }


def _environment(spec: ContainerSpec, config: ImageConfig | None) -> list[str]:
    """The variables of the container, and those of the image that it does not set."""
    inherited = dict(entry.partition("=")[::2] for entry in (config.environment if config else ()))
    values: dict[str, str | None] = {**spec.environment}
    values |= {name: value for name, value in inherited.items() if name not in values}
    return [name if value is None else f"{name}={value}" for name, value in values.items()]


def _optional(spec: ContainerSpec, config: ImageConfig | None) -> dict[str, Any]:
    """The fields that are absent if they are not set."""
    found: dict[str, Any] = {}
    ports = {*(config.exposed_ports if config else ()), *(f"{p.container_port}/{p.protocol}" for p in spec.ports)}
    ports |= {text if "/" in text else f"{text}/tcp" for text in spec.expose}
    if ports:
        found["ExposedPorts"] = {port: {} for port in sorted(ports)}
    inherited = healthcheck(config.healthcheck) if config and config.healthcheck else {}
    own = healthcheck(spec.healthcheck) if spec.healthcheck else {}
    if check := inherited | own:
        found["Healthcheck"] = check
    if signal := spec.stop_signal or (config.stop_signal if config else ""):
        found["StopSignal"] = signal
    if spec.stop_timeout is not None:
        found["StopTimeout"] = int(spec.stop_timeout)
    if config is not None and config.shell:
        found["Shell"] = list(config.shell)
    return found


def _volumes(record: ContainerRecord, config: ImageConfig | None) -> list[str]:
    """The mount points of anonymous volumes: the image's, and those that the container requests in the short form."""
    spec, names = record.spec, ("", *record.state.anonymous_volumes)
    long = {mount["Target"] for mount in host_config(spec).get("Mounts") or ()}
    requested = (mount.target for mount in spec.mounts if mount.type == "volume" and mount.source in names)
    return list(dict.fromkeys([*(config.volumes if config else ()), *(one for one in requested if one not in long)]))


def healthcheck(check: Healthcheck) -> dict[str, Any]:
    """Durations as in Docker's API: whole nanoseconds; unset fields are absent."""
    found: dict[str, Any] = {}
    if check.test is not None:
        found["Test"] = list(check.test)
    for key, value in (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ):
        if value:
            found[key] = round(value * 1e9)
    if check.retries:
        found["Retries"] = check.retries
    return found


def mounts(engine: Engine, record: ContainerRecord) -> list[dict[str, Any]]:
    """The container's mounts; anonymous volumes are in the order of the mounts that request them."""
    anonymous = list(record.state.anonymous_volumes)
    folders = {volume.spec.name: volume.mountpoint for volume in engine.volumes()}
    short = record.spec.host_config.get("Tmpfs") or {}
    modes = _modes(record.spec)
    found = []
    for mount in record.spec.mounts:
        if mount.type not in ("bind", "volume", "tmpfs", "image") or mount.target in short:
            continue
        entry: dict[str, Any] = {"Type": mount.type, "Source": mount.source, "Destination": mount.target}
        if mount.type == "volume":
            name = mount.source or (anonymous.pop(0) if anonymous else "")
            place = folders.get(name, "")
            entry = {"Type": "volume", "Name": name, "Source": place, "Destination": mount.target, "Driver": "local"}
        entry |= {
            "Mode": modes.get(mount.target.rstrip("/") or "/", ""),
            "RW": not mount.read_only,
            "Propagation": (mount.propagation or "rprivate") if mount.type == "bind" else "",
        }
        found.append(entry)
    return found


def _modes(spec: ContainerSpec) -> dict[str, str]:
    """Target → the options of the short form, "z" for a volume without options or of the long form. Others have none,
    such as the volumes of the image."""
    shown = host_config(spec)
    found = {}
    for text in shown["Binds"] or ():
        source, target, options, *_ = f"{text}::".split(":")
        found[(target or source).rstrip("/")] = options if source.startswith("/") else options or "z"
    for mount in shown.get("Mounts") or ():
        found[mount["Target"].rstrip("/")] = "z" if mount.get("Type", "volume") == "volume" else ""
    return found


def network_settings(engine: Engine, record: ContainerRecord) -> dict[str, Any]:
    attached = networks(engine, record)
    first = next((one for one in attached.values() if one["IPAddress"]), None)
    bridge = attached.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": record.id if record.state.status.alive else "",
        "SandboxKey": f"/proc/{record.state.pid}/ns/net" if record.state.status.alive else "",
        "Ports": ports(record),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{
            key: (bridge or {}).get(key, empty)
            for key, empty in (
                ("EndpointID", ""),
                ("Gateway", ""),
                ("GlobalIPv6Address", ""),
                ("GlobalIPv6PrefixLen", 0),
                ("IPAddress", ""),
                ("IPPrefixLen", 0),
                ("IPv6Gateway", ""),
                ("MacAddress", ""),
            )
        },
        "Networks": attached if first or attached else {},
    }


def networks(engine: Engine, record: ContainerRecord) -> dict[str, dict[str, Any]]:
    """Name of a network → the container's settings and addresses on it."""
    known = {network.spec.name: network for network in engine.networks()}
    endpoints = {endpoint.network: endpoint for endpoint in record.state.endpoints}
    wanted = {attachment.network: attachment for attachment in record.spec.networks}
    names = [record.spec.network_mode] if record.spec.network_mode in WITHOUT_NETWORKS else list(wanted)
    found = {}
    for name in dict.fromkeys([*names, *endpoints]):
        requested, endpoint = wanted.get(name), endpoints.get(name)
        ipam = {
            key: value
            for key, value in (
                ("IPv4Address", requested.ipv4_address if requested else ""),
                ("IPv6Address", requested.ipv6_address if requested else ""),
                ("LinkLocalIPs", list(requested.link_local_ips) if requested else []),
            )
            if value
        }
        found[name] = {
            "IPAMConfig": ipam or None,
            "Links": [f"{name}:{alias}" for name, alias in requested.links] if requested and requested.links else None,
            "Aliases": list(requested.aliases) if requested and requested.aliases else None,
            "DriverOpts": dict(requested.driver_opts) if requested and requested.driver_opts else None,
            "GwPriority": requested.gw_priority if requested else 0,
            **_endpoint(record, endpoint, known.get(name)),
        }
        if requested and requested.mac_address and endpoint is None:
            found[name]["MacAddress"] = requested.mac_address
    return found


def _endpoint(record: ContainerRecord, endpoint: Endpoint | None, network: NetworkRecord | None) -> dict[str, Any]:
    names = [record.spec.name, *(endpoint.aliases if endpoint else ()), record.id[:12]]
    if record.spec.hostname:
        names.append(record.spec.hostname)
    return {
        "MacAddress": endpoint.mac_address if endpoint else "",
        "NetworkID": network.id if network else "",
        "EndpointID": f"{record.id[:32]}{network.id[:32]}" if endpoint and network else "",
        "Gateway": endpoint.ipv4_gateway if endpoint else "",
        "IPAddress": endpoint.ipv4_address if endpoint else "",
        "IPPrefixLen": endpoint.ipv4_prefix if endpoint else 0,
        "IPv6Gateway": endpoint.ipv6_gateway if endpoint else "",
        "GlobalIPv6Address": endpoint.ipv6_address if endpoint else "",
        "GlobalIPv6PrefixLen": endpoint.ipv6_prefix if endpoint else 0,
        "DNSNames": list(dict.fromkeys(names)) if endpoint and endpoint.network not in PREDEFINED_NETWORKS else None,
    }


def ports(record: ContainerRecord) -> dict[str, Any]:
    """`80/tcp` → host addresses; null for a port that is only exposed."""
    found: dict[str, Any] = {}
    if not record.state.status.alive:
        return found
    for text in record.spec.expose:
        found.setdefault(text if "/" in text else f"{text}/tcp", None)
    for binding in record.state.ports:
        key = f"{binding.container_port}/{binding.protocol}"
        hosts = [binding.host_ip] if binding.host_ip else ["0.0.0.0", "::"]
        found[key] = [*(found.get(key) or ()), *({"HostIp": host, "HostPort": binding.host_port} for host in hosts)]
    return found
