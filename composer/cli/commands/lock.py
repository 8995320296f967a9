"""composer lock: write composer.lock with the current digests of images and remote files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "lock",
    "lock [OPTIONS]",
    (
        Flag("check", "Write nothing; fail if composer.lock is out of date"),
        Flag("keep", "Keep existing entries, add missing ones, and remove unused ones"),
        Flag("quiet", "Do not show progress", short="q"),
    ),
    positional=(0, 0),
)


def run(context: Context, args: Args) -> int:
    from composer.cli.project.lock import current, read, write

    path = context.lock_path
    found = current(context, keep=args.keep, quiet=args.quiet)
    if args.check:
        if found != read(path):
            raise CommandError(f"{path} is not up to date\nRun `composer lock` to update it.")
    elif not context.dry_run:
        write(path, found)
    return 0
