"""Unsupported keys: an error for commands that need the service, ignored by others.

A service with such a key can be listed, stopped and removed, and other services can start; it cannot be built or
created.
"""

from __future__ import annotations

from collections.abc import Iterable

from composer.plan.desired import Desired


class Refused(Exception):
    """One line for each unsupported key: position, key, reason, and what to do."""

    exit_code = 1


def check(desired: Desired, services: Iterable[str]) -> None:
    """Raises Refused when one of these services cannot be created."""
    chosen = [name for name in services if name in desired.services]
    lines = [line for name in chosen for line in desired.services[name].refused]
    lines += [line for name in chosen for other, line in desired.services[name].clashes.items() if other in chosen]
    if lines:
        raise Refused("\n".join(dict.fromkeys(lines)))
