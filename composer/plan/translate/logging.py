"""The log driver and its options; each invalid option is reported at its position."""

from __future__ import annotations

from composer.plan.translate.scope import Scope
from engine.spec.container import Logging
from engine.spec.logoptions import read


def logging(scope: Scope) -> Logging:
    wanted = scope.service.logging
    if wanted is None:
        return Logging()
    options = dict(wanted.options)
    for problem in read(wanted.driver, options)[1]:
        path = ("logging", "options", problem.option) if problem.option else ("logging", "driver")
        hint = f"; {problem.hint[0].lower()}{problem.hint[1:].rstrip('.')}" if problem.hint else ""
        scope.refuse(path, f"{problem.text}{hint}")
    return Logging(driver=wanted.driver, options=options)
