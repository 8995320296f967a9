"""composer env: the variables of a project's .env files, where each value comes from, and changes to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flag_values import output_format
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composer.cli.project.context import Context

COMMAND = command(
    "env",
    "env ls|get|set|unset [OPTIONS] [NAME|NAME=VALUE...]",
    (Flag("format", "Format the output of ls. Values: [table | json]", "string"),),
    positional=(1, None),
    actions={
        "ls": "List the variables of the .env files, with their values and origins",
        "get": "Print the values of variables as interpolation sees them, one per line",
        "set": "Write NAME=VALUE into the .env file (the last --env-file); its comments and order stay",
        "unset": "Remove variables from that file",
    },
)


def run(context: Context, args: Args) -> int:
    verb, *words = args.positional
    if verb == "ls" and not words:
        return _list(context, args.format)
    if args.format:
        raise UsageError("--format is only valid with ls")
    if verb == "get" and words:
        return _get(context, words)
    if verb == "set" and words:
        return _set(context, words)
    if verb == "unset" and words:
        return _unset(context, words)
    raise UsageError("usage: composer env ls | get NAME... | set NAME=VALUE... | unset NAME...")


def _files(context: Context) -> list[str]:
    """The .env files of the project; later ones win, and the last one is edited."""
    from composer.load.read.sources import env_files

    return list(env_files(context.load_options()))


def _list(context: Context, form: str) -> int:
    from composer.cli.project.env_file import values

    output_format(form, "table", "json")
    places: dict[str, str] = {}
    for path in _files(context):
        if os.path.exists(path):
            places |= {name: place for name, (_, place) in values(path).items()}
    known = context.environment
    rows = []
    for name in sorted(places):
        own = name in context.environ
        rows.append((name, known.get(name, ""), "environment" if own else places[name]))
    if form == "json":
        import json

        for name, value, origin in rows:
            print(json.dumps({"Name": name, "Value": value, "Origin": origin}, ensure_ascii=False))
        return 0
    from composer.cli.render.table import table

    print(table([("NAME", "VALUE", "ORIGIN"), *rows]), end="")
    return 0


def _get(context: Context, names: Sequence[str]) -> int:
    known = context.environment
    for name in names:
        if name not in known:
            raise CommandError(f"{name} is not set, neither in the environment nor in {_shown(_files(context))}")
    for name in names:
        print(known[name])
    return 0


def _set(context: Context, pairs: Sequence[str]) -> int:
    from composer.cli.project.env_file import NAME, change, values

    wanted = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not NAME.match(name):
            raise UsageError(f"{pair!r} is not NAME=VALUE")
        if "\0" in value:
            raise UsageError(f"{name}: a value cannot have a NUL character")
        wanted[name] = value
    path = _last(context)
    if context.dry_run:
        return 0
    change(path, wanted)
    found = values(path)
    for name in wanted:
        if found.get(name, ("",))[0] != wanted[name]:
            raise CommandError(f"{name} is set again later in {path}; edit the file")
        if name in context.environ and context.environ[name] != wanted[name]:
            context.warn(f"{name} is also set in the environment, which takes precedence over {path}")
    return 0


def _unset(context: Context, names: Sequence[str]) -> int:
    from composer.cli.project.env_file import change, values

    path = _last(context)
    found = values(path) if os.path.exists(path) else {}
    for name in names:
        if name not in found:
            raise CommandError(f"{name} is not set in {path}")
    if context.dry_run:
        return 0
    change(path, {}, tuple(names))
    left = values(path)
    for name in names:
        if name in left:
            raise CommandError(f"{left[name][1]}: composer cannot remove this form of {name}; edit the file")
    return 0


def _last(context: Context) -> str:
    files = _files(context)
    if not files:
        raise CommandError("COMPOSE_DISABLE_ENV_FILE is set: the project has no .env file\nName one with --env-file.")
    return files[-1]


def _shown(files: Sequence[str]) -> str:
    return " or ".join(files) or "a .env file"
