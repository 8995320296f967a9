"""composer ls: the projects that have containers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flag_values import output_format
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import is_up
from composer.cli.render.table import table
from composer.plan.labels import CONFIG_FILES, is_hook, is_oneoff

if TYPE_CHECKING:
    import re

    from composer.cli.project.context import Context

COMMAND = command(
    "ls",
    "ls [OPTIONS]",
    (
        Flag("all", "Show all stopped Compose projects", short="a"),
        Flag("filter", "Filter output based on conditions provided: name=TEXT", "strings", metavar="filter"),
        Flag("format", "Format the output. Values: [table | json]", "string", default="table"),
        Flag("quiet", "Only display project names", short="q"),
    ),
    positional=(0, 0),
)


def run(context: Context, args: Args) -> int:
    output_format(args.format, "table", "json")
    names = [_filtered_name(text) for text in args.filter]
    rows = []
    for group in sorted(context.engine.groups()):
        if names and not any(name.search(group) for name in names):
            continue
        records = [
            r
            for r in context.engine.containers(group)
            if not is_oneoff(r) and not is_hook(r) and (args.all or is_up(r))
        ]
        if not records:
            continue
        counts = Counter(record.state.status.value for record in records)
        status = ", ".join(f"{status}({count})" for status, count in sorted(counts.items()))
        files = ",".join(dict.fromkeys(r.spec.labels.get(CONFIG_FILES, "") for r in records))
        rows.append((group, status, files))
    if args.quiet:
        print("".join(f"{row[0]}\n" for row in rows), end="")
    elif args.format == "json":
        from composer.cli.render.gojson import compact

        print(compact([dict(zip(("Name", "Status", "ConfigFiles"), row, strict=True)) for row in rows]))
    else:
        print(table([("NAME", "STATUS", "CONFIG FILES"), *rows], minimum=20), end="")
    return 0


def _filtered_name(text: str) -> re.Pattern[str]:
    """The regular expression that the names of projects are searched for."""
    import re

    key, equals, value = text.partition("=")
    if key != "name" or not equals:
        raise UsageError(f'invalid filter "{text}"; supported: name=TEXT')
    try:
        return re.compile(value)
    except re.error as error:
        raise UsageError(f'invalid filter "{text}": {error}') from None
