"""The mappings of the specification below services and at the top level: the coercer of each key, in canonical
order."""

from __future__ import annotations

from composer.load.resolve import coercers as k

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
                "options": k.options,
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
