"""Checks of single entries that JSON Schema cannot express: mutually exclusive fields, addresses. Checks that need the
whole project (a reference to an undefined service) are in consistency.py. Those can be switched off, these cannot.
"""

from __future__ import annotations

from composer.load.check.validate import shown
from composer.load.errors import LoadError
from composer.load.resolve.short import is_address
from composer.load.tree.nodes import dotted, origin_at
from composer.load.tree.patterns import Node, applied

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Path = tuple[str | int, ...]
    Constraint = Callable[[Any], tuple[Path, str] | None]
    """Value → the path of the error below it, and the message; None for a valid value."""


def constrain(tree: Any, rules: Node) -> list[LoadError]:
    """The errors of the canonical tree; none when it is valid."""
    errors: list[LoadError] = []

    def check(constraint: Constraint, value: Any, path: Path) -> Any:
        wrong = constraint(value)
        if wrong:
            below, message = wrong
            errors.append(LoadError(f"{dotted(path)}: {message}", origin_at(tree, (*path, *below))))
        return value

    applied(tree, rules, check)
    return errors


def volume(value: Any) -> tuple[Path, str] | None:
    if not isinstance(value, dict) or value.get("external") is not True:
        return None
    for key in value:
        if key not in ("name", "external") and not key.startswith("x-"):
            return (key,), f"this project does not create an external volume, so it cannot set {key!r}"
    return None


def content(*keys: str) -> Constraint:
    """Check that there is exactly one source of content, or that the element is external."""

    def constraint(value: Any) -> tuple[Path, str] | None:
        given = [key for key in keys if isinstance(value, dict) and key in value]
        if len(given) > 1:
            return (given[1],), f"{' and '.join(map(repr, given))} are mutually exclusive"
        if not given and isinstance(value, dict) and "driver" not in value and "external" not in value:
            return (), f"one of {', '.join(map(repr, keys))} must be set"
        return None

    return constraint


def address(value: Any) -> tuple[Path, str] | None:
    address = value.get("host_ip") if isinstance(value, dict) else None
    if isinstance(address, str) and not is_address(address):
        return ("host_ip",), f"{shown(address)} is not an IP address"
    return None


def watched(value: Any) -> tuple[Path, str] | None:
    return ((), "a path to watch must not be empty") if value == "" else None


def device(value: Any) -> tuple[Path, str] | None:
    if isinstance(value, dict) and "count" in value and "device_ids" in value:
        return ("device_ids",), "'count' and 'device_ids' are mutually exclusive"
    return None
