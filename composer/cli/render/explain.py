"""composer config --explain: where each value comes from, what it replaced, and advice.

services.web.image = nginx:1.27  compose.override.yaml:4:5 (override)
  replaced                       compose.yaml:3:5: image: nginx:1.25

Variables:
TAG = 1.27  .env:1:1
  used by   services.web.image (compose.override.yaml:4:5)

Start order:
1  db
2  web  waits for db (service_healthy)
longest chain: db → web

Advice: …
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.flags import Args
from composer.cli.project.context import nearest
from composer.load.check.validate import shown
from composer.load.tree.nodes import Map, Origin, Sequence, dotted, origin_of, value_at

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.load.options import Loaded

Path = tuple[str | int, ...]

WIDTH = 60
"""Longer values do not widen the first column."""


def explain(context: Context, args: Args) -> str:
    """The explanation of the whole project, or of the paths that are the arguments."""
    from composer.cli.project.loaded import loaded
    from composer.load.check.advice import advice

    if args.format not in ("", "json"):
        raise UsageError(f'unsupported format "{args.format}" for --explain: json')
    found = loaded(context, args)
    paths = [find(found.tree, text) for text in args.positional] or [()]
    entries = [_entry(found, path) for start in paths for path in leaves(found.tree, start)]
    variables = [_variable(found, name) for name in _names(found, paths)]
    advised = [one for one in advice(found) if any(one.path[: len(path)] == path for path in paths)]
    if args.format == "json":
        import json

        view = {"values": entries, "variables": variables, "advice": [one.view() for one in advised]}
        return json.dumps(view, indent=2, ensure_ascii=False) + "\n"
    shown = (entry for entry in entries if entry["layer"] != "default" or entry["value"] not in (None, {}, []))
    lines = [*_columns(row for entry in shown for row in _entry_rows(entry))]
    if variables:
        lines += ["", "Variables:", *_columns(row for variable in variables for row in _variable_rows(variable))]
    if () in paths:
        lines += _start_order(found.tree)
    if advised:
        lines += ["", "Advice:", *(_relative(str(one)) for one in advised)]
    return "".join(f"{line}\n" for line in lines)


def _start_order(tree: Any) -> list[str]:
    """Which services start together, what each waits for, and the longest chain; empty without dependencies."""
    waits = {name: service.get("depends_on") or {} for name, service in tree["services"].items()}
    if not any(waits.values()):
        return []
    from composer.dependency_graph import CycleError, critical_path, waves

    lines = ["", "Start order:"]
    try:
        found = waves(waits)
    except CycleError as error:  # with --no-consistency
        return [*lines, str(error)]
    for number, wave in enumerate(found, 1):
        for name in wave:
            gates = [f"{other} ({entry.get('condition')})" for other, entry in waits[name].items() if other in waits]
            lines.append(f"{number}  {name}" + (f"  waits for {', '.join(gates)}" if gates else ""))
    return [*lines, f"longest chain: {' → '.join(critical_path(waits))}"]


def find(tree: Any, text: str) -> Path:
    """The path for a user's argument: services.web.ports[0], web.ports.0, or a service's name. Raises CommandError if
    it does not exist."""
    parts = re.findall(r"[^.\[\]]+", text)
    for start in ((), ("services",)) if parts else ():
        path = _follow(value_at(tree, start), parts)
        if path is not None:
            return (*start, *path)
    known = [dotted(path) for path in _containers(tree)]
    near = nearest(text, known) or nearest(f"services.{text}", known)
    raise CommandError(f"no service, resource or variable of this project is called {text}{near}")


def _follow(value: Any, parts: list[str]) -> Path | None:
    """The keys for the parts; several parts may form one key, because keys can contain dots."""
    if not parts:
        return ()
    for size in range(len(parts), 0, -1):
        name = ".".join(parts[:size])
        key: str | int = name
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            key = int(name)
        elif not isinstance(value, dict) or name not in value:
            continue
        rest = _follow(value[key], parts[size:])
        if rest is not None:
            return (key, *rest)
    return None


def _containers(tree: Any) -> Iterator[Path]:
    for section, entries in tree.items():
        yield (section,)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            yield (section, name)
            yield from ((section, name, key) for key in (entry if isinstance(entry, dict) else ()))


def leaves(tree: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of the scalars and of the empty collections below `path`."""
    value = value_at(tree, path)
    if isinstance(value, dict | list) and value:
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(tree, (*path, key))
    else:
        yield path


def source(tree: Any, path: Path) -> Origin | None:
    """Where a value was written, None if no file contains it.

    An entry without an origin among others that have one was added by a stage; where no sibling has one, all of them
    were derived from the entry in their container's place (the short form of a port)."""
    containers = [tree]
    for key in path[:-1]:
        containers.append(containers[-1][key])
    for container, key in reversed(list(zip(containers, path, strict=True))):
        origin = origin_of(container, key)
        if origin is not None:
            return origin
        if isinstance(container, Map) and container.origins:
            return None
        if isinstance(container, Sequence) and any(container.origins):
            return None
    return None


def _entry(found: Loaded, path: Path) -> dict[str, Any]:
    origin = source(found.tree, path)
    entry: dict[str, Any] = {"path": dotted(path), "value": value_at(found.tree, path)}
    if path == ("name",):
        return entry | {"layer": "project name"}
    if origin is None:
        return entry | {"layer": "default"}
    return entry | _place(origin) | {"replaced": [_place(one) for one in _replaced(origin)]}


def _replaced(origin: Origin) -> Iterator[Origin]:
    """The entries that it replaced, latest first."""
    before = origin.overrode
    while before is not None:
        yield before
        before = before.overrode


def _place(origin: Origin) -> dict[str, Any]:
    return {"layer": origin.layer, "file": origin.file, "line": origin.line, "column": origin.column}


def _names(found: Loaded, paths: Iterable[Path]) -> list[str]:
    """The variables used at or below one of the paths."""
    uses = found.inputs.uses
    return sorted({use.variable.name for use in uses if any(use.path[: len(path)] == path for path in paths)})


def _variable(found: Loaded, name: str) -> dict[str, Any]:
    """A variable: where its value was set, and the result of each use."""
    uses: dict[tuple[str, str], dict[str, Any]] = {}
    for use in found.inputs.uses:
        if use.variable.name == name:
            default = use.value is None and use.variable.default is not None
            value = use.variable.default if default else use.value
            view = {"path": dotted(use.path), "place": str(use.origin or ""), "value": value, "default": default}
            uses[dotted(use.path), str(use.origin or "")] = view
    values = [use["value"] for use in uses.values() if use["value"] is not None and not use["default"]]
    whole: dict[str, Any] = {"name": name, "value": values[0] if values else None, "used": list(uses.values())}
    if values:
        origin = found.inputs.set_at.get(name)
        return whole | {"source": str(origin) if origin else "environment"}
    blank = any(use["value"] is None for use in uses.values())
    return whole | {"source": "not set", "hint": _hint(found, name) if blank else ""}


def _hint(found: Loaded, name: str) -> str:
    """A hint if an unset variable is set only for a container, by env_file or environment."""
    used = {use.path for use in found.inputs.uses if use.variable.name == name}
    for service, entries in (found.tree.get("services") or {}).items():
        place = origin_of(entries.get("environment"), name)
        if place is not None and ("services", service, "environment", name) not in used:
            return (
                f"{_where(_place(place))} sets it, but for the containers of {service} only; "
                "the compose files see the environment, .env and --env-file"
            )
    return ""


def _entry_rows(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield f"{entry['path']} = {_text(entry['value'])}", _where(entry)
    for one in entry.get("replaced", ()):
        yield "  replaced", f"{_where(one)}: {_written(one)}"


def _variable_rows(variable: dict[str, Any]) -> Iterator[tuple[str, str]]:
    value = variable["value"]
    yield variable["name"] + ("" if value is None else f" = {_text(value)}"), _relative(variable["source"])
    for use in variable["used"]:
        if use["default"]:
            outcome = f": default {shown(use['value'])}"
        else:
            outcome = ": blank" if use["value"] is None else ""
        yield "  used by", f"{use['path']} ({_relative(use['place'])}){outcome}"
    if variable.get("hint"):
        yield f"  {variable['hint']}", ""


def _text(value: Any) -> str:
    if value == {} or value == []:
        return "empty"
    plain = isinstance(value, str) and value.isprintable() and len(value) < 200
    return str(value) if plain else shown(value)


def _columns(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Two columns; the first is as wide as most rows need."""
    rows = list(rows)
    width = max((len(left) for left, right in rows if right and len(left) <= WIDTH), default=0)
    yield from (f"{left:<{width}}  {right}" if right else left for left, right in rows)


def _where(place: dict[str, Any]) -> str:
    if "file" not in place:
        return str(place["layer"])
    path = _relative(place["file"])
    line = f":{place['line']}:{place['column']}" if place["line"] else ""
    return f"{path}{line}" + ("" if place["layer"] == "file" else f" ({place['layer']})")


def _relative(place: str) -> str:
    """A text that begins with an absolute path, made relative if the path is below the working directory."""
    return place.removeprefix(os.path.join(os.getcwd(), ""))


def _written(place: dict[str, Any]) -> str:
    """The line of the file, without its indentation."""
    try:
        with open(place["file"], encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if number == place["line"]:
                    return shown(line.strip())[1:-1]
    except OSError:
        pass
    return ""
