"""composer create: create containers without starting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.parsing.options import LOCKED

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "create",
    "create [OPTIONS] [SERVICE...]",
    (
        Flag("build", "Build images first"),
        Flag("force-recreate", "Recreate containers even if their configuration and image haven't changed"),
        LOCKED,
        Flag("no-build", "Don't build an image, even if it's policy"),
        Flag("no-recreate", "If containers already exist, don't recreate them. Incompatible with --force-recreate."),
        Flag("pull", 'Pull images first ("always"|"missing"|"never"|"build")', "string", default="policy"),
        Flag("quiet-pull", "Pull without showing progress"),
        Flag("remove-orphans", "Remove containers for services not defined in the Compose file"),
        Flag("scale", "Scale SERVICE to NUM instances, overriding the compose file", "strings", metavar="scale"),
        Flag("yes", 'Assume "yes" as answer to all prompts and run non-interactively', short="y", aliases=("y",)),
    ),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.converge import converge_with_flags

    return converge_with_flags(context, args, start=False)
