"""Unsupported keys: refused by name, or ignored with a warning. The other files of this folder translate all other
keys.

A pattern is a path from the top; "*" stands for any key or index. docs/compatibility.md documents these keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from composer.model import Project
from composer.model.project import Path
from composer.plan.translate.scope import Problems

Pattern = tuple[str, ...]

_NOTHING: tuple[object, ...] = ({}, (), [], None)

_SERVICE = ("services", "*")
_BUILD = (*_SERVICE, "build")
_DEPLOY = (*_SERVICE, "deploy")
_SWARM = "has no effect outside a Swarm"

REFUSED: dict[Pattern, tuple[tuple[object, ...], str]] = {
    (*_SERVICE, "cpu_count"): ((0,), "exists on Windows only; use cpus"),
    (*_SERVICE, "cpu_percent"): ((0,), "exists on Windows only; use cpus"),
    (*_SERVICE, "credential_spec"): ((), "exists on Windows only"),
    (*_SERVICE, "isolation"): (("", "default"), "isolation technologies exist on Windows only"),
    (*_SERVICE, "runtime"): (("", "runc", "io.containerd.runc.v2"), "composer has a single runtime of its own"),
    (*_SERVICE, "storage_opt"): ((), "is not supported: the overlay file system here has no quotas"),
    (*_BUILD, "isolation"): (("", "default"), "isolation technologies exist on Windows only"),
    ("configs", "*", "driver"): (("",), "composer has no store of configs; use file, environment or content"),
    ("configs", "*", "template_driver"): (("",), "templates of configs are not supported"),
    ("secrets", "*", "driver"): (("",), "composer has no store of secrets; use file or environment"),
    ("secrets", "*", "template_driver"): (("",), "templates of secrets are not supported"),
}  # fmt: skip
"""Pattern → values that are equivalent to the default, and why any other value is refused."""

IGNORED: dict[Pattern, tuple[tuple[object, ...], str]] = {
    (*_BUILD, "secrets", "*", "uid"): ((), "has no effect: set uid on RUN --mount=type=secret in the Dockerfile"),
    (*_BUILD, "secrets", "*", "gid"): ((), "has no effect: set gid on RUN --mount=type=secret in the Dockerfile"),
    (*_BUILD, "secrets", "*", "mode"): ((), "has no effect: set mode on RUN --mount=type=secret in the Dockerfile"),
    (*_DEPLOY, "resources", "reservations", "cpus"): ((0,), _SWARM + "; use cpu_shares"),
    (*_DEPLOY, "resources", "reservations", "devices", "*", "options"): (
        (),
        "has no effect: a CDI device has no options",
    ),
    (*_DEPLOY, "resources", "reservations", "generic_resources"): ((), _SWARM + "; use devices"),
    (*_DEPLOY, "resources", "reservations", "pids"): ((0,), _SWARM),
    (*_DEPLOY, "restart_policy", "delay"): ((), "has no effect: the time between two starts doubles from 100 ms on"),
    (*_DEPLOY, "restart_policy", "window"): ((), "has no effect: a start counts as successful after 10 seconds"),
    (*_SERVICE, "gpus", "*", "options"): ((), "has no effect: a CDI device has no options"),
    (*_SERVICE, "volumes", "*", "consistency"): (("", "default", "consistent"), "has no effect on Linux"),
    ("configs", "*", "driver_opts"): ((), "has no effect without a driver"),
}
"""Pattern → values that are equivalent to the default, and the warning for any other. Loading reports keys that have no
effect outside Swarm (composer/load/check/no_effect.py)."""


def check(project: Project, problems: Problems) -> None:
    """Report every key of the tables that the project uses."""
    given = project.model_dump(
        include={"services", "jobs", "configs", "secrets"}, exclude_defaults=True, exclude_unset=True, mode="python"
    )
    for table, report in ((REFUSED, problems.refuse), (IGNORED, problems.warn)):
        for pattern, (usual, why) in table.items():
            jobs = (("jobs", *pattern[1:]),) if pattern[0] == "services" else ()
            for path, value in (found for one in (pattern, *jobs) for found in matches(given, one)):
                if value not in usual and value not in _NOTHING:
                    report(path, f"{value!r}: {why}" if isinstance(value, str) else why)


def matches(tree: Any, pattern: Pattern, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every entry of the tree that matches the pattern, with its path."""
    if not pattern:
        yield path, tree
        return
    key, rest = pattern[0], pattern[1:]
    if isinstance(tree, dict):
        for name in tree if key == "*" else (key,) if key in tree else ():
            yield from matches(tree[name], rest, (*path, name))
    elif isinstance(tree, list | tuple) and key == "*":
        for index, inner in enumerate(tree):
            yield from matches(inner, rest, (*path, index))
