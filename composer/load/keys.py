"""One row for each key of a container, with everything that loading does to it; and rows for other places in a file.

    kind ─────── its type and canonical form (*_coercers.py, structures.py); the rows are in canonical order
    cast ─────── converts text to a number or boolean after interpolation (casts.py)
    merge ────── how a later file's value combines with an earlier one's (merging.py)
    unique ───── when two items of a list count as the same (unique.py)
    canonical ── converts the short form to the long form (canonical.py)
    default ──── adds defaults to the long form
    path ─────── resolves relative paths (paths.py)
    check ────── checks that the schema cannot express (constraints.py)

`below` has the same for paths below the key. A row holds for services, jobs and pre_start hooks alike.
"""

from __future__ import annotations

from composer.load.check import constraints
from composer.load.merge import merging, unique
from composer.load.read import casts
from composer.load.resolve import canonical
from composer.load.resolve import collection_coercers as collection
from composer.load.resolve import scalar_coercers as scalar
from composer.load.resolve import structures as s
from composer.load.resolve.canonical import Canonical
from composer.load.resolve.paths import Paths
from composer.load.tree.patterns import ANY, Node, compiled, of_containers

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any

    Pattern = tuple[str, ...]


class Key:
    """One row; None in a column means that nothing is done."""

    __slots__ = ("below", "canonical", "cast", "check", "default", "kind", "merge", "path", "unique")

    def __init__(
        self,
        kind: Any = None,
        *,
        canonical: Any = None,
        cast: Any = None,
        merge: Any = None,
        unique: Any = None,
        default: Any = None,
        path: Any = None,
        check: Any = None,
        below: dict[Pattern, Key] | None = None,
    ) -> None:
        self.kind, self.canonical, self.cast, self.merge = kind, canonical, cast, merge
        self.unique, self.default, self.path, self.check = unique, default, path, check
        self.below = below or {}


CONTAINER: dict[str, Key] = {
    "profiles": Key(collection.texts, unique=unique.name),
    "annotations": Key(collection.labels, merge=merging.sequence, unique=unique.name),
    "attach": Key(scalar.kept_flag),
    "build": Key(
        collection.optional(s.BUILD),
        canonical=Canonical.build,
        merge=merging.build,
        default=canonical.build_context,
        below={
            ("additional_contexts",): Key(canonical=Canonical.pairs, merge=merging.sequence, unique=unique.name),
            ("args",): Key(merge=merging.sequence, unique=unique.name),
            ("extra_hosts",): Key(merge=merging.hosts),
            ("labels",): Key(merge=merging.sequence, unique=unique.name),
            ("tags",): Key(unique=unique.name),
            ("provenance",): Key(canonical=Canonical.text),
            ("sbom",): Key(canonical=Canonical.text),
            ("secrets", ANY): Key(canonical=Canonical.mount),
            ("ssh",): Key(canonical=Canonical.ssh),
            ("ulimits", ANY): Key(canonical=Canonical.limit),
            ("additional_contexts", ANY): Key(path=Paths.context),
            ("context",): Key(path=Paths.context),
            ("ssh", ANY): Key(path=Paths.mounted),
        },
    ),
    "develop": Key(
        collection.optional(collection.Struct({"watch": collection.each(s.TRIGGER)})),
        below={
            ("watch", ANY, "ignore"): Key(canonical=Canonical.sequence),
            ("watch", ANY, "include"): Key(canonical=Canonical.sequence),
            ("watch", ANY, "path"): Key(path=Paths.watched, check=constraints.watched),
        },
    ),
    "blkio_config": Key(collection.optional(s.BLKIO)),
    "cap_add": Key(collection.texts, unique=unique.name),
    "cap_drop": Key(collection.texts, unique=unique.name),
    "cgroup_parent": Key(scalar.text),
    "cgroup": Key(scalar.text),
    "cpu_count": Key(scalar.integer, cast=casts.integer),
    "cpu_percent": Key(scalar.ratio, cast=casts.number),
    "cpu_period": Key(scalar.integer, cast=casts.integer),
    "cpu_quota": Key(scalar.integer, cast=casts.integer),
    "cpu_rt_period": Key(scalar.integer, cast=casts.integer),
    "cpu_rt_runtime": Key(scalar.integer, cast=casts.integer),
    "cpus": Key(scalar.ratio, cast=casts.number),
    "cpuset": Key(scalar.text),
    "cpu_shares": Key(scalar.integer, cast=casts.integer),
    "command": Key(collection.command, merge=merging.replace),
    "configs": Key(
        collection.each(s.FILE_MOUNT),
        unique=unique.mount(""),
        below={
            (ANY,): Key(canonical=Canonical.mount),
        },
    ),
    "container_name": Key(scalar.text),
    "credential_spec": Key(
        collection.optional(collection.Struct({"config": scalar.text, "file": scalar.text, "registry": scalar.text}))
    ),
    "depends_on": Key(
        collection.by_name(
            collection.Struct(
                {"condition": scalar.text, "restart": scalar.flag, "required": scalar.always_flag}, ("required",)
            )
        ),
        canonical=Canonical.depends_on_names,
        merge=merging.depends_on,
        below={
            (ANY, "required"): Key(cast=casts.boolean),
            (ANY, "restart"): Key(cast=casts.boolean),
        },
    ),
    "deploy": Key(
        collection.optional(s.DEPLOY),
        below={
            ("placement", "max_replicas_per_node"): Key(cast=casts.integer),
            ("replicas",): Key(cast=casts.integer),
            ("restart_policy", "max_attempts"): Key(cast=casts.integer),
            ("rollback_config", "max_failure_ratio"): Key(cast=casts.number),
            ("rollback_config", "parallelism"): Key(cast=casts.integer),
            ("update_config", "max_failure_ratio"): Key(cast=casts.number),
            ("update_config", "parallelism"): Key(cast=casts.integer),
            ("labels",): Key(merge=merging.sequence, unique=unique.name),
            ("resources", "reservations", "devices", ANY): Key(
                default=canonical.device_request, check=constraints.device
            ),
        },
    ),
    "device_cgroup_rules": Key(collection.texts),
    "devices": Key(
        collection.each(collection.Struct({"source": scalar.text, "target": scalar.text, "permissions": scalar.text})),
        unique=unique.device,
        below={
            (ANY,): Key(canonical=Canonical.device),
        },
    ),
    "dns": Key(collection.texts, canonical=Canonical.sequence, merge=merging.sequence, unique=unique.name),
    "dns_opt": Key(collection.texts, merge=merging.sequence, unique=unique.name),
    "dns_search": Key(collection.texts, merge=merging.sequence, unique=unique.name),
    "dockerfile": Key(scalar.text),
    "domainname": Key(scalar.text),
    "entrypoint": Key(collection.command, merge=merging.replace),
    "provider": Key(collection.optional(collection.Struct({"type": scalar.text, "options": collection.repeated}))),
    "environment": Key(collection.variables, merge=merging.sequence, unique=unique.name),
    "env_file": Key(
        collection.each(s.ENV_FILE),
        canonical=Canonical.env_file,
        merge=merging.sequence,
        unique=unique.file,
        below={
            (ANY, "path"): Key(path=Paths.local),
        },
    ),
    "expose": Key(collection.numbers_or_texts, unique=unique.expose),
    "extends": Key(
        collection.optional(collection.Struct({"file": scalar.text, "service": scalar.text})),
        canonical=Canonical.extends,
        below={
            ("file",): Key(path=Paths.local),
        },
    ),
    "external_links": Key(collection.texts),
    "extra_hosts": Key(collection.hosts, merge=merging.hosts),
    "group_add": Key(collection.texts),
    "gpus": Key(
        collection.each(s.DEVICE_REQUEST),
        canonical=Canonical.gpus,
        below={
            (ANY,): Key(default=canonical.device_request, check=constraints.device),
        },
    ),
    "hostname": Key(scalar.text),
    "healthcheck": Key(
        collection.optional(s.HEALTHCHECK),
        below={
            ("disable",): Key(cast=casts.boolean),
            ("retries",): Key(cast=casts.integer),
            ("test",): Key(merge=merging.replace),
        },
    ),
    "image": Key(scalar.text),
    "init": Key(scalar.kept_flag, cast=casts.boolean),
    "ipc": Key(scalar.text),
    "isolation": Key(scalar.text),
    "labels": Key(collection.labels, merge=merging.sequence, unique=unique.name),
    "label_file": Key(
        collection.texts,
        canonical=Canonical.sequence,
        merge=merging.sequence,
        below={
            (ANY,): Key(path=Paths.local),
        },
    ),
    "links": Key(collection.texts, unique=unique.name),
    "logging": Key(
        collection.optional(collection.Struct({"driver": scalar.text, "options": collection.options})),
        merge=merging.logging,
    ),
    "log_driver": Key(scalar.text),
    "log_opt": Key(collection.strings),
    "mem_limit": Key(scalar.size),
    "mem_reservation": Key(scalar.size),
    "memswap_limit": Key(scalar.size),
    "mem_swappiness": Key(scalar.size),
    "mac_address": Key(scalar.text),
    "models": Key(
        collection.by_name(collection.Struct({"endpoint_var": scalar.text, "model_var": scalar.text}), nullable=True),
        canonical=Canonical.names,
        merge=merging.keyed,
    ),
    "net": Key(scalar.text),
    "network_mode": Key(scalar.text),
    "networks": Key(
        collection.by_name(s.ATTACHMENT, nullable=True),
        canonical=Canonical.names,
        merge=merging.keyed,
        below={
            (ANY, "aliases"): Key(unique=unique.name),
            (ANY, "link_local_ips"): Key(unique=unique.name),
        },
    ),
    "oom_kill_disable": Key(scalar.flag, cast=casts.boolean),
    "oom_score_adj": Key(scalar.integer, cast=casts.integer),
    "pid": Key(scalar.text),
    "pids_limit": Key(scalar.integer, cast=casts.integer),
    "platform": Key(scalar.text),
    "ports": Key(
        collection.each(s.PORT),
        canonical=Canonical.ports,
        unique=unique.port,
        below={
            (ANY, "target"): Key(cast=casts.integer),
            (ANY,): Key(default=canonical.port, check=constraints.address),
        },
    ),
    "privileged": Key(scalar.flag, cast=casts.boolean),
    "pull_policy": Key(scalar.text),
    "read_only": Key(scalar.flag, cast=casts.boolean),
    "restart": Key(scalar.text),
    "runtime": Key(scalar.text),
    "scale": Key(scalar.kept_integer, cast=casts.integer),
    "secrets": Key(
        collection.each(s.FILE_MOUNT),
        unique=unique.mount("/run/secrets"),
        below={
            (ANY,): Key(canonical=Canonical.mount, default=canonical.secret_target),
        },
    ),
    "security_opt": Key(collection.texts),
    "shm_size": Key(scalar.size),
    "stdin_open": Key(scalar.flag, cast=casts.boolean),
    "stop_grace_period": Key(scalar.kept_duration),
    "stop_signal": Key(scalar.text),
    "storage_opt": Key(collection.strings),
    "sysctls": Key(collection.labels, merge=merging.sequence, unique=unique.name),
    "tmpfs": Key(collection.texts, merge=merging.sequence, unique=unique.name),
    "tty": Key(scalar.flag, cast=casts.boolean),
    "ulimits": Key(
        collection.limits,
        below={
            (ANY,): Key(canonical=Canonical.limit, cast=casts.integer, merge=merging.replace),
            (ANY, "hard"): Key(cast=casts.integer),
            (ANY, "soft"): Key(cast=casts.integer),
        },
    ),
    "use_api_socket": Key(scalar.flag),
    "user": Key(scalar.text),
    "userns_mode": Key(scalar.text),
    "uts": Key(scalar.text),
    "volume_driver": Key(scalar.text),
    "volumes": Key(
        collection.each(s.VOLUME_MOUNT),
        unique=unique.target,
        below={
            (ANY, "read_only"): Key(cast=casts.boolean),
            (ANY, "volume", "nocopy"): Key(cast=casts.boolean),
            (ANY,): Key(canonical=Canonical.volume, path=Paths.mount),
            (ANY, "bind"): Key(default=canonical.bind),
        },
    ),
    "volumes_from": Key(collection.texts),
    "working_dir": Key(scalar.text),
}
"""Keys of a service, except its hooks."""

ELSEWHERE: dict[Pattern, Key] = {
    ("jobs", ANY, "triggers", "manual"): Key(cast=casts.boolean),
    ("services", ANY, "pre_start", ANY, "per_replica"): Key(cast=casts.boolean),
    ("networks", ANY, "ipam", "config"): Key(merge=merging.pools),
    ("networks", ANY, "labels"): Key(merge=merging.sequence, unique=unique.name),
    ("volumes", ANY, "labels"): Key(merge=merging.sequence),
    ("networks", ANY, "ipam", "options"): Key(unique=unique.name),
    ("jobs", ANY, "triggers", "schedule", ANY): Key(canonical=Canonical.schedule),
    ("configs", ANY, "file"): Key(path=Paths.mounted),
    ("secrets", ANY, "file"): Key(path=Paths.mounted),
    ("volumes", ANY): Key(canonical=Canonical.external, path=Paths.volume, check=constraints.volume),
    ("configs", ANY): Key(canonical=Canonical.external, check=constraints.content("file", "environment", "content")),
    ("secrets", ANY): Key(canonical=Canonical.external, check=constraints.content("file", "environment")),
    ("networks", ANY): Key(canonical=Canonical.external),
    ("networks", ANY, "attachable"): Key(cast=casts.boolean),
    ("networks", ANY, "enable_ipv4"): Key(cast=casts.boolean),
    ("networks", ANY, "enable_ipv6"): Key(cast=casts.boolean),
    ("networks", ANY, "external"): Key(cast=casts.boolean),
    ("networks", ANY, "internal"): Key(cast=casts.boolean),
    ("configs", ANY, "external"): Key(cast=casts.boolean),
    ("secrets", ANY, "external"): Key(cast=casts.boolean),
    ("volumes", ANY, "external"): Key(cast=casts.boolean),
}
"""Paths that are not below a key of a container."""


def _rules(aspect: str, *, everywhere: bool = True) -> Node:
    """One column of the table, for the whole tree or for a single container."""
    rows: dict[Pattern, Key] = {(key,): row for key, row in CONTAINER.items()}
    rows |= {(key, *path): inner for key, row in CONTAINER.items() for path, inner in row.below.items()}
    if everywhere:
        rows = of_containers(rows) | ELSEWHERE
    return compiled({path: rule for path, row in rows.items() if (rule := getattr(row, aspect)) is not None})


CASTS = _rules("cast")
MERGES, SERVICE_MERGES = _rules("merge"), _rules("merge", everywhere=False)
UNIQUE = _rules("unique")
CANONICAL = _rules("canonical")
DEFAULTS = _rules("default")
PATHS = _rules("path")
CHECKS = _rules("check")


# ---- canonical forms

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
"""Keys of services only: the hooks."""
OF_WORKLOADS = frozenset(("build", "depends_on", "expose", "healthcheck", "ports", "profiles", "stdin_open", "tty"))
"""Keys of services and jobs that hooks do not have."""

_KINDS = {key: row.kind for key, row in CONTAINER.items()}
_CONTAINER = {key: kind for key, kind in _KINDS.items() if key not in OF_SERVICES | OF_WORKLOADS}
_FIRST = ("command", "image", "user", "privileged", "working_dir", "environment")

PRE_START = collection.Struct(
    {key: _CONTAINER[key] for key in _FIRST}
    | {key: kind for key, kind in _CONTAINER.items() if key not in _FIRST}
    | {"per_replica": scalar.flag},
    always=("command",),
)

SERVICE = collection.Struct(
    _KINDS
    | {
        "pre_start": collection.each(PRE_START),
        "post_start": collection.each(s.HOOK),
        "pre_stop": collection.each(s.HOOK),
    },
    always=("command", "entrypoint"),
)

SCHEDULE = collection.Struct(
    {"cron": scalar.kept_text, "timezone": scalar.text, "concurrency": scalar.text, "missed_fires": scalar.text}
)

JOB = collection.Struct(
    {key: kind for key, kind in _KINDS.items() if key not in OF_SERVICES}
    | {"triggers": collection.Struct({"manual": scalar.kept_flag, "schedule": collection.each(SCHEDULE)})},
    always=("command", "entrypoint", "triggers"),
)

ELEMENTS: dict[str, collection.Struct] = {
    "services": SERVICE,
    "jobs": JOB,
    "networks": s.NETWORK,
    "volumes": s.VOLUME,
    "secrets": s.FILE,
    "configs": s.FILE,
    "models": s.MODEL,
}
"""Top-level key → coercer of its entries."""
