"""--format templates of listings.

`{{.Field}}`, `{{json .Field}}`, `{{json .}}`, `{{upper .Field}}`, `{{lower .Field}}`, and \\t, \\n between them, are
handled here; gotemplate.py handles everything else. `table TEMPLATE` prints a header and columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from composer.cli.errors import UsageError
from composer.cli.render.gojson import compact
from composer.cli.render.table import MINIMUM, table
from composer.load.printable import one_line

Row = Mapping[str, object]
ACTION = re.compile(r"\{\{-?\s*(?:(json|upper|lower)\s+)?\.(\w*)\s*-?\}\}")


def _text(value: object) -> str:
    """As Go prints it; the mappings in a list are structs."""
    if isinstance(value, list):
        return f"[{' '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{' '.join(map(_text, value.values()))}}}"
    return one_line(str(value))


FUNCTIONS: dict[str, Callable[[object], str]] = {
    "": _text,
    "json": compact,
    "upper": lambda value: _text(value).upper(),
    "lower": lambda value: _text(value).lower(),
}


def format_rows(
    template: str, rows: Sequence[Row], known: Iterable[str], headers: Mapping[str, str], *, minimum: int = MINIMUM,
    labels: Sequence[Mapping[str, str]] | None = None,
) -> str:  # fmt: skip
    """Each row formatted by the template; UsageError for an unknown field or an invalid template. `minimum`: characters
    of a table's columns; `labels`: those of each row, for `{{.Label "name"}}`."""
    as_table = template.startswith("table")
    body = template.removeprefix("table").lstrip(" ") if as_table else template
    body = body.replace("\\t", "\t").replace("\\n", "\n")
    known = frozenset(known)
    actions = re.findall(r"\{\{.*?\}\}", body)
    if len(actions) != body.count("{{"):
        raise UsageError("--format: unclosed action")
    for inner in actions:
        match = ACTION.fullmatch(inner)
        if match is None or inner.startswith("{{-") or inner.endswith("-}}"):
            return _by_go(body, rows, known, headers, labels, minimum=minimum, as_table=as_table)
        if match[2] and match[2] not in known:
            raise UsageError(f"--format: no field {match[2]!r}; fields: {', '.join(sorted(known))}")
    lines = [ACTION.sub(lambda m, row=row: _value(m, row), body) for row in rows]  # type: ignore[misc]
    if not as_table:
        return "".join(f"{line}\n" for line in lines)
    header = ACTION.sub(lambda m: headers.get(m[2], m[2].upper()), body)
    return table([line.split("\t") for line in (header, *lines)], minimum=minimum)


class _Fields(dict[str, object]):
    """A row that checks names of fields; `label` is its method Label."""

    label: Callable[[str], str] | None = None

    def get(self, name: str, default: object = None) -> object:
        if name == "Label" and self.label:
            return self.label
        if name not in self:
            raise UsageError(f"--format: no field {name!r}; fields: {', '.join(sorted(self))}")
        return self[name]


def _column(label: str) -> str:
    """The header of a label's column."""
    return label.rpartition(".")[2].replace("-", " ").replace("_", " ")


def _by_go(
    body: str, rows: Sequence[Row], known: Collection[str], headers: Mapping[str, str],
    labels: Sequence[Mapping[str, str]] | None, *, minimum: int, as_table: bool,
) -> str:  # fmt: skip
    from composer.cli.render.gotemplate import Template

    read = Template(body)
    fields = [_Fields(row) for row in rows]
    for one, own in zip(fields, labels or (), strict=False):
        one.label = lambda name, own=own: own.get(name, "")
    lines = [read.render(one) for one in fields]
    if not as_table:
        return "".join(f"{line}\n" for line in lines)
    names = _Fields({name: headers.get(name, name.upper()) for name in known})
    names.label = _column if labels is not None else None
    header = read.render(names, header=True)
    return table([line.split("\t") for line in (header, *lines)], minimum=minimum)


def _value(match: re.Match[str], row: Row) -> str:
    return FUNCTIONS[match[1] or ""](row[match[2]] if match[2] else dict(row))
