"""composer unpause: resume paused containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command("unpause", "unpause [SERVICE...]")


def run(context: Context, args: Args) -> int:
    from composer.cli.project.change import change

    return change(context, "unpause", services=args.positional)
