"""composer push: push the images that services build to their registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "push",
    "push [OPTIONS] [SERVICE...]",
    (
        Flag("ignore-push-failures", "Push what it can and ignores images with push failures"),
        Flag("include-deps", "Also push the images of services that these depend on"),
        Flag("quiet", "Push without showing progress", short="q"),
    ),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.acquire import push_services

    return push_services(
        context,
        args.positional,
        dependencies=args.include_deps,
        ignore_failures=args.ignore_push_failures,
        quiet=args.quiet,
    )
