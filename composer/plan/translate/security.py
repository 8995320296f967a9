"""Privileges and security options."""

from __future__ import annotations

import os
from typing import Any

from composer.plan.translate.scope import Scope
from engine.spec import securityopts


def security(scope: Scope) -> dict[str, Any]:
    service = scope.service
    for index, problem in securityopts.read(service.security_opt)[1]:
        scope.refuse(("security_opt", index), problem)
    return {
        "privileged": service.privileged,
        "cap_add": service.cap_add,
        "cap_drop": service.cap_drop,
        "security_opt": tuple(_option(scope, text) for text in service.security_opt),
        "sysctls": dict(service.sysctls),
        "device_cgroup_rules": service.device_cgroup_rules,
        "read_only": service.read_only,
        "shm_size": service.shm_size,
    }


def _option(scope: Scope, text: str) -> str:
    """The path of a seccomp profile is relative to the project."""
    separator = "=" if text.startswith("seccomp=") else ":"
    word, found, value = text.partition(separator)
    if word != "seccomp" or not found or value in ("unconfined", "builtin"):
        return text
    return f"seccomp={os.path.join(scope.project.working_dir, os.path.expanduser(value))}"
