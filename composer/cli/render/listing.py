"""Listings and inspected objects of images, containers, networks and volumes, laid out as docker's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from composer.cli.parsing.flags import Args, Flag
from composer.cli.render.table import MINIMUM, table
from composer.load.printable import one_line
from composer.view.errors import Unknown

Row = Mapping[str, object]

FORMAT = Flag("format", "Format output: table (default), table TEMPLATE, json, or a Go TEMPLATE", "string")
FILTER = Flag("filter", "Filter output: NAME=VALUE", "strings", short="f", metavar="filter")
NO_TRUNC = Flag("no-trunc", "Don't truncate output")
QUIET = Flag("quiet", "Only display IDs", short="q")
FORCE = Flag("force", "Do not prompt for confirmation", short="f")
INSPECT = Flag("format", "Format output: json, or a Go TEMPLATE", "string", short="f")


def ids_only(args: Args) -> bool:
    """Whether --quiet applies: as in docker, a format other than the plain table takes precedence."""
    return bool(args.quiet) and args.format in ("", "table")


def listing(template: str, rows: Sequence[Row], headers: Mapping[str, str], columns: Sequence[str]) -> str:
    """Rows by `--format`. `headers`: all fields and their headings; `columns`: those of the plain table. UsageError."""
    if template in ("", "table"):
        lines = [[one_line(str(row[name])) for name in columns] for row in rows]
        return table([[headers[name] for name in columns], *lines], minimum=MINIMUM)
    from composer.cli.render.gojson import compact
    from composer.cli.render.row_template import format_rows

    if template == "json":
        return "".join(f"{compact(dict(sorted(row.items())))}\n" for row in rows)
    return format_rows(template, rows, headers, headers)


def inspect(
    names: Iterable[str], find: Callable[[str], dict[str, Any]], template: str, *, kind: str = ""
) -> tuple[str, list[str]]:
    """Print the objects for `inspect`, and an error for each that does not exist. Raises UsageError for an invalid
    template."""
    found, errors = [], []
    for name in names:
        try:
            found.append(find(name))
        except Unknown as error:
            errors.append(str(error) if not kind else f"Error: No such {kind}: {name}")
    if not template:
        import json  # listings do not need it

        return json.dumps(found, indent=4, ensure_ascii=False) + "\n", errors
    from composer.cli.render.gojson import compact
    from composer.cli.render.gotemplate import Template

    if template == "json":
        return "".join(f"{compact(one)}\n" for one in found), errors
    parsed = Template(template)
    return "".join(f"{parsed.render(one)}\n" for one in found), errors


def labels(values: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in values.items())


def short(identity: str, *, full: bool = False) -> str:
    """An id in listings: twelve digits, without the algorithm; in full with --no-trunc."""
    return identity if full else identity.removeprefix("sha256:")[:12]
