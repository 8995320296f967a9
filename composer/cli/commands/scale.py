"""composer scale: have so many containers of a service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from composer.cli.errors import UsageError
from composer.cli.parsing.flags import Args, Command, Flag
from composer.plan.desired import MOST_REPLICAS

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = Command(
    "scale",
    "Scale services",
    "scale [SERVICE=REPLICAS...]",
    (Flag("no-deps", "Do not start the services that these depend on"),),
    positional=(1, None),
)


def parse_scale(words: Iterable[str], what: str) -> dict[str, int]:
    """SERVICE=NUM pairs; UsageError names the one that is not."""
    scale = {}
    for word in words:
        service, equals, number = word.partition("=")
        if not equals or not service:
            raise UsageError(f'invalid {what} "{word}". Should be SERVICE=NUM')
        if not number.isdigit():
            raise UsageError(f'invalid {what} "{word}": {number!r} is not a whole number')
        if len(number) > 6 or int(number) > MOST_REPLICAS:
            raise UsageError(f'invalid {what} "{word}": a service has at most {MOST_REPLICAS} containers')
        scale[service] = int(number)
    return scale


def run(context: Context, args: Args) -> int:
    from composer.cli.project.converge import Images, converge

    scale = parse_scale(args.positional, "scale specifier")
    return converge(context, tuple(scale), images=Images(), scale=scale, no_deps=args.no_deps)
