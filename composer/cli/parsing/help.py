"""`--help`, laid out as docker compose's: flags sorted by name, descriptions in one column, wrapped at 80."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from composer.cli.parsing.examples import EXAMPLES
from composer.cli.parsing.flags import Command, Flag, Group

VALUE_NAMES = {"string": "string", "strings": "stringArray", "int": "int", "uint": "int"}
WIDTH = 80


def command_help(command: Command) -> str:
    lines = [f"Usage:  composer {command.usage}", "", command.short]
    if command.actions:
        lines += ["", "Actions:", *_columns(command.actions)]
    options = options_help(command.flags)
    if options:
        lines += ["", "Options:", *options]
    if examples := EXAMPLES.get(command.name):
        lines += ["", "Examples:", *(f"  {example}" for example in examples)]
    return "\n".join(lines)


def options_help(flags: Iterable[Flag]) -> list[str]:
    shown = sorted((flag for flag in flags if not flag.hidden), key=lambda flag: flag.name)
    heads = [_head(flag) for flag in shown]
    column = max(map(len, heads), default=0) + 3
    lines: list[str] = []
    for flag, head in zip(shown, heads, strict=True):
        text = textwrap.wrap(_text(flag), max(WIDTH - column, 24), break_on_hyphens=False) or [""]
        lines.append(f"{head:<{column}}{text[0]}")
        lines += [" " * column + line for line in text[1:]]
    return lines


def _head(flag: Flag) -> str:
    value = "" if flag.kind == "bool" else " " + (flag.metavar or VALUE_NAMES[flag.kind])
    return (f"  -{flag.short}, " if flag.short else "      ") + f"--{flag.name}{value}"


def _text(flag: Flag) -> str:
    text = flag.help
    if flag.refused:
        text += f" (not supported: {flag.refused})"
    elif flag.default not in (None, False, "", ()):
        text += f' (default "{flag.default}")' if flag.kind == "string" else f" (default {str(flag.default).lower()})"
    return text


def group_help(group: Group) -> str:
    return "\n".join(
        [
            f"Usage:  composer {group.name} COMMAND",
            "",
            group.short,
            "",
            "Commands:",
            *_columns({name: command.short for name, command in group.commands.items()}),
            "",
            f"Run 'composer {group.name} COMMAND --help' for more information on a command.",
        ]
    )


def _columns(texts: Mapping[str, str]) -> list[str]:
    width = max(map(len, texts)) + 3
    return [f"  {name:<{width}}{text}" for name, text in texts.items()]


def general_help(flags: Sequence[Flag], commands: Mapping[str, str]) -> str:
    return "\n".join(
        [
            "Usage:  composer [OPTIONS] COMMAND",
            "",
            "Define and run multi-container applications without Docker",
            "",
            "Options:",
            *options_help(flags),
            "",
            "Commands:",
            *_columns(commands),
            "",
            "Run 'composer COMMAND --help' for more information on a command.",
        ]
    )
