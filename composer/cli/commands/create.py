"""composer create: make containers without starting them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.flags import Args, Command, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = Command(
    "create",
    "Creates containers for a service",
    "create [OPTIONS] [SERVICE...]",
    (
        Flag("build", "Build images first"),
        Flag("force-recreate", "Recreate containers even if nothing about them has changed"),
        Flag("no-build", "Do not build images, whatever the policy"),
        Flag("no-recreate", "Leave existing containers as they are; not with --force-recreate"),
        Flag("pull", 'Pull images first ("always"|"missing"|"never"|"build")', "string", default="policy"),
        Flag("quiet-pull", "Pull without showing progress"),
        Flag("remove-orphans", "Remove containers of services that the project does not have"),
        Flag("scale", "Have NUM containers of SERVICE, whatever the compose file says", "strings", metavar="scale"),
        Flag("yes", "Answer yes to all questions", short="y", aliases=("y",)),
    ),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.converge import converge_as_asked

    return converge_as_asked(context, args, start=False)
