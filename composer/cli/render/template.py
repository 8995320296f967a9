"""--format templates: the part of Go's text/template that listings are written with.

`{{.Field}}`, `{{json .Field}}`, `{{json .}}`, `{{upper .Field}}`, `{{lower .Field}}`, and \\t, \\n between them.
`table TEMPLATE` prints a header and columns. Anything else is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from composer.cli.errors import UsageError
from composer.cli.render.table import table
from composer.load.printable import one_line

Row = Mapping[str, object]
ACTION = re.compile(r"\{\{-?\s*(?:(json|upper|lower)\s+)?\.(\w*)\s*-?\}\}")


def compact(value: object) -> str:
    """JSON as Go marshals it: no spaces, with <, > and & escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


FUNCTIONS: dict[str, Callable[[object], str]] = {
    "": lambda value: one_line(str(value)),
    "json": compact,
    "upper": lambda value: one_line(str(value)).upper(),
    "lower": lambda value: one_line(str(value)).lower(),
}


def format_rows(
    template: str, rows: Sequence[Row], known: Iterable[str], headers: Mapping[str, str], *, minimum: int = 0
) -> str:
    """Each row through the template; UsageError for an unknown field or an unsupported action. `minimum`: characters of a
    table's columns."""
    as_table = template.startswith("table")
    body = template.removeprefix("table").lstrip(" ") if as_table else template
    body = body.replace("\\t", "\t").replace("\\n", "\n")
    known = frozenset(known)
    for inner in re.findall(r"\{\{.*?\}\}", body):
        match = ACTION.fullmatch(inner)
        if match is None:
            raise UsageError(f"--format: {inner} is not supported: only fields and json, upper, lower of a field are")
        if match[2] and match[2] not in known:
            raise UsageError(f"--format: no field {match[2]!r}; there are {', '.join(sorted(known))}")
    lines = [ACTION.sub(lambda m, row=row: _value(m, row), body) for row in rows]  # type: ignore[misc]
    if not as_table:
        return "".join(f"{line}\n" for line in lines)
    header = ACTION.sub(lambda m: headers.get(m[2], m[2].upper()), body)
    return table([line.split("\t") for line in (header, *lines)], minimum=minimum)


def _value(match: re.Match[str], row: Row) -> str:
    return FUNCTIONS[match[1] or ""](row[match[2]] if match[2] else dict(row))
