"""composer logout: delete the credentials of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args
from engine.vocabulary import HUB_SERVER

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command("logout", "logout [SERVER]", positional=(0, 1))


def run(context: Context, args: Args) -> int:
    server = args.positional[0] if args.positional else ""
    print(f"Removing login credentials for {server or HUB_SERVER}")
    if not context.dry_run and not context.engine.logout(server):
        print(f"Not logged in to {server or HUB_SERVER}")
    return 0
