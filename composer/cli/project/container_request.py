"""Translates the flags of `container run` and `container create` to a request of the Docker API (Docker Engine API
1.55, ContainerCreate), so that both share one translation and one set of checks."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.commands.exec import environment
from composer.cli.errors import InvalidArgument, UsageError
from composer.cli.parsing.flag_values import byte_size, quantity, ulimit
from composer.cli.project.mount_flag import mount
from composer.cli.project.oneoff import env_files, ports
from engine import quantities

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args


def request(args: Args, environ: Mapping[str, str], *, attach: bool) -> dict[str, Any]:
    """The body of `POST /containers/create`; `attach`: the command stays attached. UsageError names the invalid flag."""
    image, *command = args.positional
    variables = {**env_files(args.env_file, environ), **environment(args.env, environ)}
    body: dict[str, Any] = {
        "Image": image,
        "Cmd": command or None,
        "Env": [name if value is None else f"{name}={value}" for name, value in variables.items()],
        "Labels": {**_label_files(args.label_file), **_pairs(args.label)},
        "Hostname": args.hostname,
        "Domainname": args.domainname,
        "User": args.user,
        "WorkingDir": args.workdir,
        "Tty": args.tty,
        "OpenStdin": args.interactive,
        "StdinOnce": args.interactive and attach,
        "StopSignal": args.stop_signal,
        "StopTimeout": args.stop_timeout,
        "MacAddress": args.mac_address,
        "ExposedPorts": {one: {} for text in args.expose for one in _exposed(text)},
        "Healthcheck": _healthcheck(args),
        "Volumes": {text: {} for text in args.volume if ":" not in text},
        "HostConfig": _host(args, environ),
        "NetworkingConfig": {"EndpointsConfig": _endpoints(args)},
    }
    if "entrypoint" in args.given:
        body["Entrypoint"] = shlex.split(args.entrypoint) or [""]
    return body


def _host(args: Args, environ: Mapping[str, str]) -> dict[str, Any]:
    first = next(iter(args.network), "")
    host: dict[str, Any] = {
        "Annotations": _pairs(args.annotation),
        "AutoRemove": args.rm,
        "Binds": [_bind(text, environ) for text in args.volume if ":" in text],
        "Mounts": [mount(text) for text in args.mount],
        "Tmpfs": dict(text.partition(":")[::2] for text in args.tmpfs),
        "CapAdd": args.cap_add,
        "CapDrop": args.cap_drop,
        "CgroupParent": args.cgroup_parent,
        "CgroupnsMode": args.cgroupns,
        "DeviceCgroupRules": args.device_cgroup_rule,
        "Devices": [_device(text) for text in args.device],
        "DeviceRequests": _gpus(args.gpus),
        "Dns": args.dns,
        "DnsOptions": args.dns_option,
        "DnsSearch": args.dns_search,
        "ExtraHosts": args.add_host,
        "GroupAdd": args.group_add,
        "Init": args.init if "init" in args.given else None,
        "IpcMode": args.ipc,
        "Links": args.link,
        "LogConfig": {"Type": args.log_driver, "Config": _pairs(args.log_opt)},
        "NetworkMode": _parsed_network(first)[0] or "default",
        "OomScoreAdj": args.oom_score_adj,
        "PidMode": args.pid,
        "PortBindings": _bindings(args.publish),
        "Privileged": args.privileged,
        "PublishAllPorts": args.publish_all,
        "ReadonlyRootfs": args.read_only,
        "RestartPolicy": restart(args.restart),
        "Runtime": args.runtime,
        "SecurityOpt": args.security_opt,
        "StorageOpt": _pairs(args.storage_opt),
        "Sysctls": _pairs(args.sysctl),
        "Ulimits": [dict(zip(("Name", "Soft", "Hard"), ulimit(text), strict=True)) for text in args.ulimit],
        "UsernsMode": args.userns,
        "UTSMode": args.uts,
        "VolumeDriver": args.volume_driver,
        "VolumesFrom": args.volumes_from,
    }
    return {**host, **_resources(args)}


def limits(args: Args) -> dict[str, Any]:
    """The limits that `container update` can change. UsageError names the invalid flag."""
    return {
        "BlkioWeight": args.blkio_weight,
        "CpuPeriod": args.cpu_period,
        "CpuQuota": args.cpu_quota,
        "CpuRealtimePeriod": args.cpu_rt_period,
        "CpuRealtimeRuntime": args.cpu_rt_runtime,
        "CpuShares": args.cpu_shares,
        "CpusetCpus": args.cpuset_cpus,
        "CpusetMems": args.cpuset_mems,
        "NanoCpus": round(quantity("--cpus", args.cpus, float) * 1e9) if args.cpus else 0,
        "Memory": byte_size("--memory", args.memory),
        "MemoryReservation": byte_size("--memory-reservation", args.memory_reservation),
        "MemorySwap": byte_size("--memory-swap", args.memory_swap),
        "PidsLimit": args.pids_limit,
    }


def _resources(args: Args) -> dict[str, Any]:
    return {
        **limits(args),
        "BlkioWeightDevice": [_rated(text, "Weight", int) for text in args.blkio_weight_device],
        "BlkioDeviceReadBps": [_rated(text, "Rate", quantities.size) for text in args.device_read_bps],
        "BlkioDeviceReadIOps": [_rated(text, "Rate", int) for text in args.device_read_iops],
        "BlkioDeviceWriteBps": [_rated(text, "Rate", quantities.size) for text in args.device_write_bps],
        "BlkioDeviceWriteIOps": [_rated(text, "Rate", int) for text in args.device_write_iops],
        "MemorySwappiness": args.memory_swappiness,
        "OomKillDisable": args.oom_kill_disable,
        "ShmSize": byte_size("--shm-size", args.shm_size),
    }


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    return dict(text.partition("=")[::2] for text in texts)


def _label_files(paths: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                found |= _pairs(line.strip() for line in file if line.strip() and not line.lstrip().startswith("#"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--label-file: {path}: {error}") from None
    return found


def _exposed(text: str) -> list[str]:
    return [f"{one.container_port}/{one.protocol}" for one in ports(text)]


def _bindings(texts: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for text in texts:
        for one in ports(text):
            key = f"{one.container_port}/{one.protocol}"
            found.setdefault(key, []).append({"HostIp": one.host_ip, "HostPort": str(one.host_port or "")})
    return found


def _bind(text: str, environ: Mapping[str, str]) -> str:
    """Resolve relative paths, `.` and `~` of a source, as docker's client does."""
    source, _, rest = text.partition(":")
    if source.startswith((".", "~", "/")):
        source = os.path.abspath(os.path.expanduser(source))
    return f"{source}:{rest}"


def _device(text: str) -> dict[str, str]:
    """`HOST[:CONTAINER][:rwm]`."""
    source, *rest = text.split(":")
    modes = rest.pop() if rest and set(rest[-1]) <= set("rwm") and rest[-1] else "rwm"
    if len(rest) > 1:
        raise UsageError(f"invalid device specification: {text}")
    return {"PathOnHost": source, "PathInContainer": rest[0] if rest else source, "CgroupPermissions": modes}


def _gpus(text: str) -> list[dict[str, Any]]:
    """`all`, a number, or `device=ID,…`, `count=…`, `driver=…`, `capabilities=…` separated by commas."""
    if not text:
        return []
    if text == "all" or text.isdecimal():
        return [{"Driver": "", "Count": -1 if text == "all" else int(text), "Capabilities": [["gpu"]]}]
    requested: dict[str, Any] = {"Capabilities": [["gpu"]]}
    for part in text.strip('"').split(","):
        key, equals, value = part.partition("=")
        if key == "device" and equals:
            requested.setdefault("DeviceIDs", []).append(value)
        elif key == "count" and (value == "all" or value.isdecimal()):
            requested["Count"] = -1 if value == "all" else int(value)
        elif key == "driver" and equals:
            requested["Driver"] = value
        elif key == "capabilities" and equals:
            requested["Capabilities"] = [["gpu", *value.split(",")]]
        elif not equals and "DeviceIDs" in requested:
            requested["DeviceIDs"].append(part)
        else:
            raise UsageError(f'invalid argument "{text}" for "--gpus" flag')
    return [requested]


def _rated(text: str, key: str, parse: Callable[[str], int]) -> dict[str, Any]:
    path, _, value = text.partition(":")
    return {"Path": path, key: quantity("--device", value, parse)}


def restart(text: str) -> dict[str, Any]:
    """`RestartPolicy` of `NAME[:COUNT]`. UsageError."""
    name, _, count = text.partition(":")
    if count and not count.isdecimal():
        raise UsageError(f"invalid restart policy format: maximum retry count must be an integer: {text}")
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def _healthcheck(args: Args) -> dict[str, Any] | None:
    given = {name for name in args.given if name.startswith("health-")}
    if args.no_healthcheck:
        if given:
            raise UsageError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not given:
        return None
    durations = {
        "Interval": "health-interval",
        "Timeout": "health-timeout",
        "StartPeriod": "health-start-period",
        "StartInterval": "health-start-interval",
    }
    check: dict[str, Any] = {
        key: quantity(f"--{flag}", getattr(args, flag.replace("-", "_")), quantities.nanoseconds)
        for key, flag in durations.items()
        if flag in given
    }
    return {
        **check,
        "Test": ["CMD-SHELL", args.health_cmd] if args.health_cmd else None,
        "Retries": args.health_retries,
    }


def _parsed_network(text: str) -> tuple[str, dict[str, Any]]:
    """A network's name, or `name=…,alias=…,ip=…,ip6=…,mac-address=…,link-local-ip=…,driver-opt=…,gw-priority=…`."""
    if "=" not in text:
        return text, {}
    name, endpoint, ipam = "", {}, {}  # type: str, dict[str, Any], dict[str, Any]
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key == "name":
            name = value
        elif key == "alias":
            endpoint.setdefault("Aliases", []).append(value)
        elif key in ("ip", "ip6"):
            ipam["IPv4Address" if key == "ip" else "IPv6Address"] = value
        elif key == "link-local-ip":
            ipam.setdefault("LinkLocalIPs", []).append(value)
        elif key == "mac-address":
            endpoint["MacAddress"] = value
        elif key == "driver-opt":
            endpoint.setdefault("DriverOpts", {}).update(_pairs([value]))
        elif key == "gw-priority" and value.lstrip("-").isdecimal():
            endpoint["GwPriority"] = int(value)
        else:
            raise InvalidArgument(text, "--network", f"invalid field {part}")
    return name, {**endpoint, **({"IPAMConfig": ipam} if ipam else {})}


def _endpoints(args: Args) -> dict[str, Any]:
    """Each network; the flags --ip, --network-alias … apply to the first."""
    found = dict(_parsed_network(text) for text in args.network or ["default"])
    first = next(iter(found))
    ipam = {
        key: value
        for key, value in (
            ("IPv4Address", args.ip),
            ("IPv6Address", args.ip6),
            ("LinkLocalIPs", args.link_local_ip),
        )
        if value
    }
    if ipam:
        found[first]["IPAMConfig"] = {**found[first].get("IPAMConfig", {}), **ipam}
    if args.network_alias:
        found[first]["Aliases"] = [*found[first].get("Aliases", []), *args.network_alias]
    without = first in ("host", "none") or first.startswith("container:")
    if without and (ipam or args.network_alias):
        raise UsageError(f"conflicting options: network {first} has no addresses and aliases of its own")
    return {} if without else found
