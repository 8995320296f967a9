"""composer down: stop and remove a project's containers and networks, with -v its volumes, with --rmi its images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "down",
    "down [OPTIONS] [SERVICES]",
    (
        Flag("remove-orphans", "Remove containers for services not defined in the Compose file"),
        Flag(
            "rmi",
            'Remove images used by services. "local" removes only images without a custom tag ("local"|"all")',
            "string",
        ),
        Flag("timeout", "Seconds to wait for containers to stop before they are killed", "int", short="t"),
        Flag(
            "volumes",
            "Remove named volumes that the files declare, and containers' anonymous volumes",
            short="v",
            aliases=("volume",),
        ),
    ),
)


def run(context: Context, args: Args) -> int:
    if args.rmi not in ("", "local", "all"):
        raise UsageError(f'invalid value for --rmi: "{args.rmi}", expected local or all')
    from composer.cli.project.change import change

    return change(
        context,
        "down",
        services=args.positional,
        timeout=args.timeout,
        volumes=args.volumes,
        remove_orphans=args.remove_orphans,
        images=args.rmi,
    )
