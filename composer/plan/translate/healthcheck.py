"""Translate a service's healthcheck."""

from __future__ import annotations

from composer.plan.translate.scope import Scope
from engine.spec.container import Healthcheck

_FORMS = ("NONE", "CMD", "CMD-SHELL")


def healthcheck(scope: Scope) -> Healthcheck | None:
    """The healthcheck; None: use the image's. An empty test keeps the image's test with the other values from here."""
    check = scope.service.healthcheck
    if check is None:
        return None
    if check.disable or check.test == ("NONE",):
        return Healthcheck(test=("NONE",))
    test = check.test or None
    if test is not None and test[0] not in _FORMS:
        scope.refuse(("healthcheck", "test", 0), f"{test[0]!r} is not one of {', '.join(_FORMS)}")
    elif test is not None and test[0] != "NONE" and len(test) < 2:
        scope.refuse(("healthcheck", "test"), f"{test[0]} needs a command")
    for key in ("interval", "timeout", "start_period", "start_interval"):
        value: float | None = getattr(check, key)
        if value is not None and (value < 0 or 0 < value < 0.001):
            scope.refuse(("healthcheck", key), "is less than 1 ms")
    if check.retries is not None and check.retries < 0:
        scope.refuse(("healthcheck", "retries"), "is negative")
    if check.start_interval is not None and check.start_period is None:
        scope.refuse(
            ("healthcheck", "start_interval"), "healthcheck.start_interval requires healthcheck.start_period to be set"
        )
    # 0 means the default, as in the Docker API.
    return Healthcheck(
        test=test,
        interval=check.interval or None,
        timeout=check.timeout or None,
        retries=check.retries or None,
        start_period=check.start_period or None,
        start_interval=check.start_interval or None,
    )
