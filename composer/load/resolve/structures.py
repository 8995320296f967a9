"""The mappings of the specification below services and at the top level: the coercer of each key, in canonical
order."""

from __future__ import annotations

from composer.load.resolve import collection_coercers as collection
from composer.load.resolve import scalar_coercers as scalar

FILE_MOUNT = collection.Struct(
    {"source": scalar.text, "target": scalar.text, "uid": scalar.text, "gid": scalar.text, "mode": scalar.mode}
)

BUILD = collection.Struct(
    {
        "context": scalar.text,
        "dockerfile": scalar.text,
        "dockerfile_inline": scalar.text,
        "entitlements": collection.texts,
        "args": collection.variables,
        "provenance": scalar.text,
        "sbom": scalar.text,
        "ssh": collection.ssh,
        "labels": collection.labels,
        "cache_from": collection.texts,
        "cache_to": collection.texts,
        "no_cache": scalar.flag,
        "no_cache_filter": collection.texts,
        "additional_contexts": collection.labels,
        "pull": scalar.flag,
        "extra_hosts": collection.hosts,
        "isolation": scalar.text,
        "network": scalar.text,
        "target": scalar.text,
        "secrets": collection.each(FILE_MOUNT),
        "shm_size": scalar.size,
        "tags": collection.texts,
        "ulimits": collection.limits,
        "platforms": collection.texts,
        "privileged": scalar.flag,
    }
)

HOOK = collection.Struct(
    {
        "command": collection.command,
        "user": scalar.text,
        "privileged": scalar.flag,
        "working_dir": scalar.text,
        "environment": collection.variables,
    },
    always=("command",),
)

TRIGGER = collection.Struct(
    {
        "path": scalar.kept_text,
        "action": scalar.kept_text,
        "target": scalar.text,
        "exec": HOOK,
        "include": collection.texts,
        "ignore": collection.texts,
        "initial_sync": scalar.flag,
    },
    always=("path", "action", "exec"),
)

THROTTLE = collection.Struct(
    {"path": scalar.kept_text, "rate": scalar.kept_size}, ("path", "rate"), {"path": "Path", "rate": "Rate"}
)
WEIGHT = collection.Struct(
    {"path": scalar.kept_text, "weight": scalar.kept_weight}, ("path", "weight"), {"path": "Path", "weight": "Weight"}
)

BLKIO = collection.Struct(
    {
        "weight": scalar.weight,
        "weight_device": collection.each(WEIGHT),
        "device_read_bps": collection.each(THROTTLE),
        "device_read_iops": collection.each(THROTTLE),
        "device_write_bps": collection.each(THROTTLE),
        "device_write_iops": collection.each(THROTTLE),
    }
)

DEVICE_REQUEST = collection.Struct(
    {
        "capabilities": collection.texts,
        "driver": scalar.text,
        "count": scalar.count,
        "device_ids": collection.texts,
        "options": collection.labels,
    }
)

DISCRETE = collection.Struct({"kind": scalar.kept_text, "value": scalar.always_integer}, ("kind", "value"))

RESOURCE = collection.Struct(
    {
        "cpus": scalar.ratio,
        "memory": scalar.size,
        "pids": scalar.integer,
        "devices": collection.each(DEVICE_REQUEST),
        "generic_resources": collection.each(
            collection.Struct({"discrete_resource_spec": collection.optional(DISCRETE)})
        ),
    }
)

UPDATE = collection.Struct(
    {
        "parallelism": scalar.kept_natural,
        "delay": scalar.duration,
        "failure_action": scalar.text,
        "monitor": scalar.duration,
        "max_failure_ratio": scalar.ratio,
        "order": scalar.text,
    }
)

DEPLOY = collection.Struct(
    {
        "mode": scalar.text,
        "replicas": scalar.kept_integer,
        "labels": collection.labels,
        "update_config": collection.optional(UPDATE),
        "rollback_config": collection.optional(UPDATE),
        "resources": collection.Struct(
            {"limits": collection.optional(RESOURCE), "reservations": collection.optional(RESOURCE)}
        ),
        "restart_policy": collection.optional(
            collection.Struct(
                {
                    "condition": scalar.text,
                    "delay": scalar.kept_duration,
                    "max_attempts": scalar.kept_natural,
                    "window": scalar.kept_duration,
                }
            )
        ),
        "placement": collection.Struct(
            {
                "constraints": collection.texts,
                "preferences": collection.each(collection.Struct({"spread": scalar.text})),
                "max_replicas_per_node": scalar.natural,
            }
        ),
        "endpoint_mode": scalar.text,
    },
    always=("resources", "placement"),
)

PORT = collection.Struct(
    {
        "name": scalar.text,
        "mode": scalar.text,
        "host_ip": scalar.text,
        "target": scalar.natural,
        "published": scalar.text,
        "protocol": scalar.text,
        "app_protocol": scalar.text,
    }
)

VOLUME_MOUNT = collection.Struct(
    {
        "type": scalar.text,
        "source": scalar.text,
        "target": scalar.text,
        "read_only": scalar.flag,
        "consistency": scalar.text,
        "bind": collection.optional(
            collection.Struct(
                {
                    "selinux": scalar.text,
                    "propagation": scalar.text,
                    "create_host_path": scalar.flag_true_by_default,
                    "recursive": scalar.text,
                }
            )
        ),
        "volume": collection.optional(
            collection.Struct({"labels": collection.labels, "nocopy": scalar.flag, "subpath": scalar.text})
        ),
        "tmpfs": collection.optional(collection.Struct({"size": scalar.size, "mode": scalar.permissions})),
        "image": collection.optional(collection.Struct({"subpath": scalar.text})),
    }
)

ATTACHMENT = collection.Struct(
    {
        "aliases": collection.texts,
        "driver_opts": collection.options,
        "gw_priority": scalar.integer,
        "interface_name": scalar.text,
        "ipv4_address": scalar.text,
        "ipv6_address": scalar.text,
        "link_local_ips": collection.texts,
        "mac_address": scalar.text,
        "priority": scalar.integer,
    }
)

HEALTHCHECK = collection.Struct(
    {
        "test": collection.test,
        "timeout": scalar.kept_duration,
        "interval": scalar.kept_duration,
        "retries": scalar.kept_natural,
        "start_period": scalar.kept_duration,
        "start_interval": scalar.kept_duration,
        "disable": scalar.flag,
    }
)


ENV_FILE = collection.Struct({"path": scalar.text, "required": scalar.flag_true_by_default, "format": scalar.text})

NETWORK = collection.Struct(
    {
        "name": scalar.text,
        "driver": scalar.text,
        "driver_opts": collection.options,
        "ipam": collection.Struct(
            {
                "driver": scalar.text,
                "config": collection.each(
                    collection.Struct(
                        {
                            "subnet": scalar.text,
                            "gateway": scalar.text,
                            "ip_range": scalar.text,
                            "aux_addresses": collection.labels,
                        }
                    )
                ),
                "options": collection.options,
            }
        ),
        "external": scalar.flag,
        "internal": scalar.flag,
        "attachable": scalar.flag,
        "labels": collection.labels,
        "enable_ipv4": scalar.kept_flag,
        "enable_ipv6": scalar.kept_flag,
    },
    always=("ipam",),
)

VOLUME = collection.Struct(
    {
        "name": scalar.text,
        "driver": scalar.text,
        "driver_opts": collection.options,
        "external": scalar.flag,
        "labels": collection.labels,
    }
)

FILE = collection.Struct(
    {
        "name": scalar.text,
        "file": scalar.text,
        "environment": scalar.text,
        "content": scalar.text,
        "external": scalar.flag,
        "labels": collection.labels,
        "driver": scalar.text,
        "driver_opts": collection.strings,
        "template_driver": scalar.text,
    }
)

MODEL = collection.Struct(
    {"name": scalar.text, "model": scalar.text, "context_size": scalar.integer, "runtime_flags": collection.texts}
)
