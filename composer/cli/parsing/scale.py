"""SERVICE=NUM arguments of `scale` and --scale."""

from __future__ import annotations

from collections.abc import Iterable

from composer.cli.errors import UsageError
from composer.plan.desired import MOST_REPLICAS


def parse_scale(words: Iterable[str], subject: str) -> dict[str, int]:
    """The SERVICE=NUM pairs. Raises UsageError for an invalid one."""
    scale = {}
    for word in words:
        service, equals, number = word.partition("=")
        if not equals or not service:
            raise UsageError(f'invalid {subject} "{word}". Should be SERVICE=NUM')
        if not number.isdecimal():
            raise UsageError(f'invalid {subject} "{word}": {number!r} is not a whole number')
        if len(number) > 6 or int(number) > MOST_REPLICAS:
            raise UsageError(f'invalid {subject} "{word}": a service has at most {MOST_REPLICAS} containers')
        scale[service] = int(number)
    return scale
