"""composer version."""

from __future__ import annotations

from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.release import COMPOSE, VERSION

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "version",
    "version [OPTIONS]",
    (
        Flag("format", "Format the output. Values: [pretty | json]. (Default: pretty)", "string", short="f"),
        Flag("short", "Show only the version of Docker Compose that this one equals"),
    ),
    positional=(0, 0),
)


def run(context: Context, args: Args) -> int:
    """--short and JSON are for programs, which compare the version with the release of Docker Compose that they need."""
    if args.short:
        print(COMPOSE)
    elif args.format == "json":
        print(f'{{"version":"v{COMPOSE}","composer":"{VERSION}"}}')
    elif args.format in ("", "pretty"):
        print(f"Composer version {VERSION} (equals Docker Compose {COMPOSE})")
    else:
        raise UsageError(f'unsupported format "{args.format}": pretty or json')
    return 0
