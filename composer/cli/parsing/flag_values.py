"""Values that several commands' flags take: quantities, ulimits, output formats."""

from __future__ import annotations

from composer.cli.errors import InvalidArgument, UsageError
from engine import quantities

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

PULL_POLICIES = ("policy", "always", "missing", "never", "build")


def quantity(flag: str, text: str, parse: Callable[[str], T]) -> T:
    """`text` parsed. A ValueError becomes a UsageError that names `flag`, written as --name or -n, --name."""
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidArgument(text, flag, str(error)) from None


def byte_size(flag: str, text: str) -> int:
    """Bytes: "" is 0, "-1" is -1. Raises UsageError."""
    return int(text or 0) if text in ("", "-1") else quantity(flag, text, quantities.size)


def ulimit(text: str) -> tuple[str, int, int]:
    """(name, soft limit, hard limit) of NAME=SOFT[:HARD]. Raises UsageError."""
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return name, int(soft), int(hard or soft)
    except ValueError:
        raise InvalidArgument(text, "--ulimit", "expected NAME=SOFT[:HARD]") from None


def output_format(text: str, *known: str) -> str:
    """A --format value; "" means the first of `known`. Raises UsageError for another."""
    if text and text not in known:
        raise UsageError(f'unsupported format "{text}": {", ".join(known[:-1])} or {known[-1]}')
    return text or known[0]


def pull_policy(text: str) -> str:
    """A --pull value. Raises UsageError."""
    if text not in PULL_POLICIES:
        raise UsageError(f'invalid --pull option "{text}", expected always, missing or never')
    return text
