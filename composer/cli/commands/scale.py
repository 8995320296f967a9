"""composer scale: set the number of containers of services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.parsing.scale import parse_scale

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "scale",
    "scale [SERVICE=REPLICAS...]",
    (Flag("no-deps", "Do not start the services that these depend on"),),
    positional=(1, None),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.converge import Images, converge

    scale = parse_scale(args.positional, "scale specifier")
    return converge(context, tuple(scale), images=Images(), scale=scale, no_deps=args.no_deps)
