"""composer pull: pull the images of services concurrently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.parsing.options import LOCKED

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "pull",
    "pull [OPTIONS] [SERVICE...]",
    (
        Flag("ignore-buildable", "Ignore images that can be built"),
        Flag("ignore-pull-failures", "Pull what it can and ignores images with pull failures"),
        Flag("include-deps", "Also pull the services that these depend on"),
        LOCKED,
        Flag("no-parallel", "Deprecated, without effect", default=True, hidden=True),
        Flag("parallel", "Deprecated, without effect", default=True, hidden=True),
        Flag("policy", 'When to pull ("missing"|"always")', "string"),
        Flag("quiet", "Pull without showing progress", short="q"),
    ),
)


def run(context: Context, args: Args) -> int:
    if args.policy not in ("", "missing", "always"):
        raise UsageError(f'invalid --policy option "{args.policy}", expected missing or always')
    from composer.cli.project.acquire import pull_services
    from composer.cli.project.external_programs import pull_provided

    code = pull_services(
        context,
        args.positional,
        dependencies=args.include_deps,
        ignore_buildable=args.ignore_buildable,
        ignore_failures=args.ignore_pull_failures,
        policy=args.policy,
        quiet=args.quiet,
    )
    pull_provided(context, args.positional, dependencies=args.include_deps, policy=args.policy)
    return code
