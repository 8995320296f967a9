"""The canonical file: for each key of the specification its kind, in the order in which `config` prints them."""

from __future__ import annotations

from composer.load import kinds as k
from composer.load.errors import LoadError
from composer.load.tree import Fields, Map, origin_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any

    from composer.load.tree import Path

FILE_MOUNT = k.Struct({"source": k.text, "target": k.text, "uid": k.text, "gid": k.text, "mode": k.mode})

BUILD = k.Struct(
    {
        "context": k.text,
        "dockerfile": k.text,
        "dockerfile_inline": k.text,
        "entitlements": k.texts,
        "args": k.variables,
        "provenance": k.text,
        "sbom": k.text,
        "ssh": k.ssh,
        "labels": k.labels,
        "cache_from": k.texts,
        "cache_to": k.texts,
        "no_cache": k.flag,
        "no_cache_filter": k.texts,
        "additional_contexts": k.labels,
        "pull": k.flag,
        "extra_hosts": k.hosts,
        "isolation": k.text,
        "network": k.text,
        "target": k.text,
        "secrets": k.each(FILE_MOUNT),
        "shm_size": k.size,
        "tags": k.texts,
        "ulimits": k.limits,
        "platforms": k.texts,
        "privileged": k.flag,
    }
)

HOOK = k.Struct(
    {
        "command": k.command,
        "user": k.text,
        "privileged": k.flag,
        "working_dir": k.text,
        "environment": k.variables,
    },
    always=("command",),
)

TRIGGER = k.Struct(
    {
        "path": k.kept_text,
        "action": k.kept_text,
        "target": k.text,
        "exec": HOOK,
        "include": k.texts,
        "ignore": k.texts,
        "initial_sync": k.flag,
    },
    always=("path", "action", "exec"),
)

THROTTLE = k.Struct({"path": k.kept_text, "rate": k.kept_size}, ("path", "rate"), {"path": "Path", "rate": "Rate"})
WEIGHT = k.Struct(
    {"path": k.kept_text, "weight": k.kept_weight}, ("path", "weight"), {"path": "Path", "weight": "Weight"}
)

BLKIO = k.Struct(
    {
        "weight": k.weight,
        "weight_device": k.each(WEIGHT),
        "device_read_bps": k.each(THROTTLE),
        "device_read_iops": k.each(THROTTLE),
        "device_write_bps": k.each(THROTTLE),
        "device_write_iops": k.each(THROTTLE),
    }
)

DEVICE_REQUEST = k.Struct(
    {
        "capabilities": k.texts,
        "driver": k.text,
        "count": k.count,
        "device_ids": k.texts,
        "options": k.labels,
    }
)

DISCRETE = k.Struct({"kind": k.kept_text, "value": k.always_integer}, ("kind", "value"))

RESOURCE = k.Struct(
    {
        "cpus": k.ratio,
        "memory": k.size,
        "pids": k.integer,
        "devices": k.each(DEVICE_REQUEST),
        "generic_resources": k.each(k.Struct({"discrete_resource_spec": k.optional(DISCRETE)})),
    }
)

UPDATE = k.Struct(
    {
        "parallelism": k.kept_natural,
        "delay": k.duration,
        "failure_action": k.text,
        "monitor": k.duration,
        "max_failure_ratio": k.ratio,
        "order": k.text,
    }
)

DEPLOY = k.Struct(
    {
        "mode": k.text,
        "replicas": k.kept_integer,
        "labels": k.labels,
        "update_config": k.optional(UPDATE),
        "rollback_config": k.optional(UPDATE),
        "resources": k.Struct({"limits": k.optional(RESOURCE), "reservations": k.optional(RESOURCE)}),
        "restart_policy": k.optional(
            k.Struct(
                {
                    "condition": k.text,
                    "delay": k.kept_duration,
                    "max_attempts": k.kept_natural,
                    "window": k.kept_duration,
                }
            )
        ),
        "placement": k.Struct(
            {
                "constraints": k.texts,
                "preferences": k.each(k.Struct({"spread": k.text})),
                "max_replicas_per_node": k.natural,
            }
        ),
        "endpoint_mode": k.text,
    },
    always=("resources", "placement"),
)

PORT = k.Struct(
    {
        "name": k.text,
        "mode": k.text,
        "host_ip": k.text,
        "target": k.natural,
        "published": k.text,
        "protocol": k.text,
        "app_protocol": k.text,
    }
)

VOLUME_MOUNT = k.Struct(
    {
        "type": k.text,
        "source": k.text,
        "target": k.text,
        "read_only": k.flag,
        "consistency": k.text,
        "bind": k.optional(
            k.Struct(
                {"selinux": k.text, "propagation": k.text, "create_host_path": k.true_unless_said, "recursive": k.text}
            )
        ),
        "volume": k.optional(k.Struct({"labels": k.labels, "nocopy": k.flag, "subpath": k.text})),
        "tmpfs": k.optional(k.Struct({"size": k.size, "mode": k.permissions})),
        "image": k.optional(k.Struct({"subpath": k.text})),
    }
)

ATTACHMENT = k.Struct(
    {
        "aliases": k.texts,
        "driver_opts": k.options,
        "gw_priority": k.integer,
        "interface_name": k.text,
        "ipv4_address": k.text,
        "ipv6_address": k.text,
        "link_local_ips": k.texts,
        "mac_address": k.text,
        "priority": k.integer,
    }
)

HEALTHCHECK = k.Struct(
    {
        "test": k.test,
        "timeout": k.kept_duration,
        "interval": k.kept_duration,
        "retries": k.kept_natural,
        "start_period": k.kept_duration,
        "start_interval": k.kept_duration,
        "disable": k.flag,
    }
)


ENV_FILE = k.Struct({"path": k.text, "required": k.true_unless_said, "format": k.text})

_FIELDS = {
    "profiles": k.texts,
    "annotations": k.labels,
    "attach": k.kept_flag,
    "build": k.optional(BUILD),
    "develop": k.optional(k.Struct({"watch": k.each(TRIGGER)})),
    "blkio_config": k.optional(BLKIO),
    "cap_add": k.texts,
    "cap_drop": k.texts,
    "cgroup_parent": k.text,
    "cgroup": k.text,
    "cpu_count": k.integer,
    "cpu_percent": k.ratio,
    "cpu_period": k.integer,
    "cpu_quota": k.integer,
    "cpu_rt_period": k.integer,
    "cpu_rt_runtime": k.integer,
    "cpus": k.ratio,
    "cpuset": k.text,
    "cpu_shares": k.integer,
    "command": k.command,
    "configs": k.each(FILE_MOUNT),
    "container_name": k.text,
    "credential_spec": k.optional(k.Struct({"config": k.text, "file": k.text, "registry": k.text})),
    "depends_on": k.by_name(
        k.Struct({"condition": k.text, "restart": k.flag, "required": k.always_flag}, ("required",))
    ),
    "deploy": k.optional(DEPLOY),
    "device_cgroup_rules": k.texts,
    "devices": k.each(k.Struct({"source": k.text, "target": k.text, "permissions": k.text})),
    "dns": k.texts,
    "dns_opt": k.texts,
    "dns_search": k.texts,
    "dockerfile": k.text,
    "domainname": k.text,
    "entrypoint": k.command,
    "provider": k.optional(k.Struct({"type": k.text, "options": k.repeated})),
    "environment": k.variables,
    "env_file": k.each(ENV_FILE),
    "expose": k.numbers_or_texts,
    "extends": k.optional(k.Struct({"file": k.text, "service": k.text})),
    "external_links": k.texts,
    "extra_hosts": k.hosts,
    "group_add": k.texts,
    "gpus": k.each(DEVICE_REQUEST),
    "hostname": k.text,
    "healthcheck": k.optional(HEALTHCHECK),
    "image": k.text,
    "init": k.kept_flag,
    "ipc": k.text,
    "isolation": k.text,
    "labels": k.labels,
    "label_file": k.texts,
    "links": k.texts,
    "logging": k.optional(k.Struct({"driver": k.text, "options": k.options})),
    "log_driver": k.text,
    "log_opt": k.strings,
    "mem_limit": k.size,
    "mem_reservation": k.size,
    "memswap_limit": k.size,
    "mem_swappiness": k.size,
    "mac_address": k.text,
    "models": k.by_name(k.Struct({"endpoint_var": k.text, "model_var": k.text}), nullable=True),
    "net": k.text,
    "network_mode": k.text,
    "networks": k.by_name(ATTACHMENT, nullable=True),
    "oom_kill_disable": k.flag,
    "oom_score_adj": k.integer,
    "pid": k.text,
    "pids_limit": k.integer,
    "platform": k.text,
    "ports": k.each(PORT),
    "privileged": k.flag,
    "pull_policy": k.text,
    "read_only": k.flag,
    "restart": k.text,
    "runtime": k.text,
    "scale": k.kept_integer,
    "secrets": k.each(FILE_MOUNT),
    "security_opt": k.texts,
    "shm_size": k.size,
    "stdin_open": k.flag,
    "stop_grace_period": k.kept_duration,
    "stop_signal": k.text,
    "storage_opt": k.strings,
    "sysctls": k.labels,
    "tmpfs": k.texts,
    "tty": k.flag,
    "ulimits": k.limits,
    "use_api_socket": k.flag,
    "user": k.text,
    "userns_mode": k.text,
    "uts": k.text,
    "volume_driver": k.text,
    "volumes": k.each(VOLUME_MOUNT),
    "volumes_from": k.texts,
    "working_dir": k.text,
}
"""Keys of a service, but for its hooks."""

OF_SERVICES = frozenset(
    (
        *(
            "attach",
            "container_name",
            "deploy",
            "develop",
            "dockerfile",
            "extends",
            "external_links",
            "links",
            "log_driver",
        ),
        *("log_opt", "net", "provider", "restart", "scale", "volume_driver"),
    )
)
"""Keys that only a service has, as it has hooks."""
OF_WORKLOADS = frozenset(("build", "depends_on", "expose", "healthcheck", "ports", "profiles", "stdin_open", "tty"))
"""Keys that services and jobs have, and no hook."""

_CONTAINER = {key: kind for key, kind in _FIELDS.items() if key not in OF_SERVICES | OF_WORKLOADS}
_FIRST = ("command", "image", "user", "privileged", "working_dir", "environment")

PRE_START = k.Struct(
    {key: _CONTAINER[key] for key in _FIRST}
    | {key: kind for key, kind in _CONTAINER.items() if key not in _FIRST}
    | {"per_replica": k.flag},
    always=("command",),
)

SERVICE = k.Struct(
    _FIELDS | {"pre_start": k.each(PRE_START), "post_start": k.each(HOOK), "pre_stop": k.each(HOOK)},
    always=("command", "entrypoint"),
)

SCHEDULE = k.Struct({"cron": k.kept_text, "timezone": k.text, "concurrency": k.text, "missed_fires": k.text})

JOB = k.Struct(
    {key: kind for key, kind in _FIELDS.items() if key not in OF_SERVICES}
    | {"triggers": k.Struct({"manual": k.kept_flag, "schedule": k.each(SCHEDULE)})},
    always=("command", "entrypoint", "triggers"),
)

NETWORK = k.Struct(
    {
        "name": k.text,
        "driver": k.text,
        "driver_opts": k.options,
        "ipam": k.Struct(
            {
                "driver": k.text,
                "config": k.each(
                    k.Struct({"subnet": k.text, "gateway": k.text, "ip_range": k.text, "aux_addresses": k.labels})
                ),
            }
        ),
        "external": k.flag,
        "internal": k.flag,
        "attachable": k.flag,
        "labels": k.labels,
        "enable_ipv4": k.kept_flag,
        "enable_ipv6": k.kept_flag,
    },
    always=("ipam",),
)

VOLUME = k.Struct({"name": k.text, "driver": k.text, "driver_opts": k.options, "external": k.flag, "labels": k.labels})

FILE = k.Struct(
    {
        "name": k.text,
        "file": k.text,
        "environment": k.text,
        "content": k.text,
        "external": k.flag,
        "labels": k.labels,
        "driver": k.text,
        "driver_opts": k.strings,
        "template_driver": k.text,
    }
)

MODEL = k.Struct({"name": k.text, "model": k.text, "context_size": k.integer, "runtime_flags": k.texts})

ELEMENTS: dict[str, Any] = {
    "services": SERVICE,
    "jobs": JOB,
    "networks": NETWORK,
    "volumes": VOLUME,
    "secrets": FILE,
    "configs": FILE,
    "models": MODEL,
}


def bound(root: Map, name: str) -> tuple[Map, list[LoadError]]:
    """The canonical tree of a normalised one, and what has no canonical form."""
    errors: list[LoadError] = []
    found = Fields({"name": name})
    found.origins = root.origins
    for element, kind in ELEMENTS.items():
        entries = root.get(element)
        if not isinstance(entries, dict):
            if element == "services":
                found[element] = Map()
            continue
        whole = Map()
        whole.origins = getattr(entries, "origins", {})
        for key in sorted(entries):
            try:
                whole[key] = kind(entries[key])
            except k.KindError as error:
                errors += [_error(root, (element, key, *one.path), str(one)) for one in error.all()]
        if whole or element == "services":
            found[element] = whole
    for key, value in sorted(root.items()):
        if key.startswith("x-"):
            found[key] = value
    return found, errors


def _error(root: Map, path: Path, message: str) -> LoadError:
    element, key, *rest = path
    inner = "".join(f"[{step}]" if isinstance(step, (int, k.Name)) else f".{step}" for step in rest)
    return LoadError(f"'{element}[{key}]{inner}': {message}", origin_at(root, path))
