"""A container's HostConfig: its specification as `docker inspect` shows it (Docker Engine API 1.55, HostConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from composer.plan.labels import AUTOREMOVE
from engine.spec import masked_paths
from engine.vocabulary import DEFAULT_SHM_SIZE

if TYPE_CHECKING:
    from engine.spec.container import BlkioRule, ContainerSpec, Mount, PortBinding


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """The fields that an API client sent, unchanged; all others from the specification."""
    requested = {key: value for key, value in spec.host_config.items() if value not in _UNSET}
    if requested.get("NetworkMode") == "default":
        del requested["NetworkMode"]
    if not (requested.get("LogConfig") or {}).get("Type"):
        requested.pop("LogConfig", None)
    if requested.get("MemorySwappiness") == -1:
        del requested["MemorySwappiness"]
    if "Mounts" in requested:
        requested["Mounts"] = _given(requested["Mounts"])
    found = {**_specified(spec), **requested}
    return {name: value for name, value in found.items() if value is not None or name not in _ABSENT}


def _given(value: Any) -> Any:
    """The value without unset fields, at any depth."""
    if isinstance(value, dict):
        return {key: _given(one) for key, one in value.items() if one is not None}
    return [_given(one) for one in value] if isinstance(value, list) else value


_ABSENT = frozenset({"Annotations", "Init", "Mounts", "StorageOpt", "Sysctls", "Tmpfs"})
"""Fields that are absent if not requested; all others are null then."""


_UNSET: tuple[object, ...] = (None, "", 0, [], {})


def _specified(spec: ContainerSpec) -> dict[str, Any]:
    return {
        **_resources(spec),
        "Annotations": dict(spec.annotations) or None,
        "AutoRemove": AUTOREMOVE in spec.labels,
        "Binds": [_bind(mount) for mount in spec.mounts if _is_bind(mount)] or None,
        "CapAdd": list(spec.cap_add) or None,
        "CapDrop": list(spec.cap_drop) or None,
        "Cgroup": "",
        "CgroupnsMode": spec.cgroup_mode or "private",
        "ConsoleSize": [0, 0],
        "ContainerIDFile": "",
        "Dns": list(spec.dns),
        "DnsOptions": list(spec.dns_opt),
        "DnsSearch": list(spec.dns_search),
        "ExtraHosts": [f"{name}:{address}" for name, address in spec.extra_hosts] or None,
        "GroupAdd": list(spec.group_add) or None,
        "Init": spec.init,
        "IpcMode": spec.ipc_mode or "private",
        "Isolation": "",
        "Links": None,
        "LogConfig": {"Type": spec.logging.driver or "json-file", "Config": dict(spec.logging.options)},
        "MaskedPaths": list(masked_paths.masked(spec)) or None,
        "Mounts": [_mount(mount) for mount in spec.mounts if not _is_bind(mount) and mount.type in _MOUNTS] or None,
        "NetworkMode": spec.network_mode or (spec.networks[0].network if spec.networks else "none"),
        "OomScoreAdj": spec.oom_score_adj,
        "PidMode": spec.pid_mode,
        "PortBindings": port_bindings(spec.ports),
        "Privileged": spec.privileged,
        "PublishAllPorts": False,
        "ReadonlyPaths": list(masked_paths.read_only(spec)) or None,
        "ReadonlyRootfs": spec.read_only,
        "RestartPolicy": {"Name": spec.restart.policy, "MaximumRetryCount": spec.restart.max_retries},
        "Runtime": "runc",
        "SecurityOpt": list(spec.security_opt) or None,
        "ShmSize": spec.shm_size or DEFAULT_SHM_SIZE,
        "StorageOpt": dict(spec.storage_opt) or None,
        "Sysctls": dict(spec.sysctls) or None,
        "Tmpfs": {m.target: ",".join(m.options) for m in spec.mounts if m.type == "tmpfs"} or None,
        "UTSMode": spec.uts_mode,
        "UsernsMode": spec.userns_mode,
        "VolumeDriver": "",
        "VolumesFrom": list(spec.volumes_from) or None,
    }


def _resources(spec: ContainerSpec) -> dict[str, Any]:
    limits = spec.resources
    return {
        "BlkioDeviceReadBps": _rules(limits.device_read_bps, "Rate"),
        "BlkioDeviceReadIOps": _rules(limits.device_read_iops, "Rate"),
        "BlkioDeviceWriteBps": _rules(limits.device_write_bps, "Rate"),
        "BlkioDeviceWriteIOps": _rules(limits.device_write_iops, "Rate"),
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": _rules(limits.blkio_weight_device, "Weight"),
        "CgroupParent": spec.cgroup_parent,
        "CpuCount": 0,
        "CpuPercent": 0,
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuRealtimePeriod": limits.cpu_rt_period,
        "CpuRealtimeRuntime": limits.cpu_rt_runtime,
        "CpuShares": limits.cpu_shares,
        "CpusetCpus": limits.cpuset,
        "CpusetMems": limits.cpuset_mems,
        **_devices(spec),
        "IOMaximumBandwidth": 0,
        "IOMaximumIOps": 0,
        "Memory": limits.memory,
        "MemoryReservation": limits.memory_reservation,
        "MemorySwap": limits.memory_swap,
        "MemorySwappiness": limits.memory_swappiness,
        "NanoCpus": round(limits.cpus * 1e9),
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids_limit or None,
        "Ulimits": [{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in spec.ulimits],
    }


def _devices(spec: ContainerSpec) -> dict[str, Any]:
    return {
        "DeviceCgroupRules": list(spec.device_cgroup_rules) or None,
        "DeviceRequests": [
            {
                "Driver": request.driver,
                "Count": request.count,
                "DeviceIDs": list(request.device_ids) or None,
                "Capabilities": [list(request.capabilities)],
                "Options": {},
            }
            for request in spec.device_requests
        ]
        or None,
        "Devices": [
            {
                "PathOnHost": device.path_on_host,
                "PathInContainer": device.path_in_container,
                "CgroupPermissions": device.permissions,
            }
            for device in spec.devices
        ],
    }


def _rules(rules: tuple[BlkioRule, ...], key: str) -> list[dict[str, Any]]:
    return [{"Path": rule.path, key: rule.value} for rule in rules]


_MOUNTS = frozenset({"bind", "volume", "image"})


def _is_bind(mount: Mount) -> bool:
    """Whether Docker's short form (`docker run -v`) can express it: a bind mount that creates its source, or a named
    volume."""
    plain = not (mount.subpath or mount.labels or mount.recursive)
    return (
        plain and bool(mount.source) and (mount.type == "volume" or (mount.type == "bind" and mount.create_host_path))
    )


def _bind(mount: Mount) -> str:
    options = [
        *(["ro"] if mount.read_only else ["rw"]),
        *([mount.selinux] if mount.selinux else []),
        *([mount.propagation] if mount.propagation else []),
        *(["nocopy"] if mount.nocopy else []),
    ]
    return f"{mount.source}:{mount.target}:{','.join(options)}"


def _mount(mount: Mount) -> dict[str, Any]:
    found: dict[str, Any] = {"Type": mount.type, "Target": mount.target}
    if mount.source:
        found["Source"] = mount.source
    if mount.read_only:
        found["ReadOnly"] = True
    if mount.type == "bind" and mount.propagation:
        found["BindOptions"] = {"Propagation": mount.propagation}
    if mount.type == "volume":
        options = {"NoCopy": mount.nocopy, "Labels": dict(mount.labels), "Subpath": mount.subpath}
        found["VolumeOptions"] = {name: value for name, value in options.items() if value}
    return found


def port_bindings(ports: tuple[PortBinding, ...]) -> dict[str, list[dict[str, str]]]:
    """Ports as in Docker's API: `80/tcp` → addresses on the host."""
    found: dict[str, list[dict[str, str]]] = {}
    for binding in ports:
        where = {"HostIp": binding.host_ip, "HostPort": binding.host_port}
        found.setdefault(f"{binding.container_port}/{binding.protocol}", []).append(where)
    return found
