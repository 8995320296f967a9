"""Restart policies: `restart`, and deploy.restart_policy, which takes precedence."""

from __future__ import annotations

from composer.plan.translate.scope import Scope
from engine.spec.container import Restart
from engine.vocabulary import RESTART_POLICIES

_CONDITIONS = {
    "": "always",
    "any": "always",
    "always": "always",
    "on-failure": "on-failure",
    "none": "no",
    "no": "no",
    "unless-stopped": "unless-stopped",
}


def restart(scope: Scope) -> Restart:
    service = scope.service
    if service.deploy and service.deploy.restart_policy:
        return _of_deploy(scope)
    if not service.restart:
        return Restart()
    policy, colon, retries = service.restart.partition(":")
    policy = "no" if policy == "none" else policy
    if policy not in RESTART_POLICIES:
        scope.refuse(("restart",), f"{service.restart!r} is not one of {', '.join(RESTART_POLICIES)}, on-failure:MAX")
    elif colon and (policy != "on-failure" or not retries.isdecimal()):
        scope.refuse(
            ("restart",), f"{service.restart!r}: a number of retries is only valid with on-failure, like on-failure:3"
        )
    else:
        return Restart(policy=policy, max_retries=int(retries or 0))
    return Restart()


def _of_deploy(scope: Scope) -> Restart:
    assert scope.service.deploy is not None and scope.service.deploy.restart_policy is not None
    wanted = scope.service.deploy.restart_policy
    path = ("deploy", "restart_policy")
    if wanted.condition not in _CONDITIONS:
        scope.refuse((*path, "condition"), f"{wanted.condition!r} is not one of none, on-failure, any")
        return Restart()
    policy = _CONDITIONS[wanted.condition]
    attempts = wanted.max_attempts or 0
    if attempts < 0:
        scope.refuse((*path, "max_attempts"), "is negative")
    return Restart(policy=policy, max_retries=max(attempts, 0))
