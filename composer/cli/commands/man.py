"""composer man: the manual page, generated from the tables of commands and flags (man(7))."""

from __future__ import annotations

import importlib

from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Command, Flag
from composer.release import VERSION

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from composer.cli.project.context import Context

COMMAND = command("man", "man", positional=(0, 0))


def run(context: Context, args: Args) -> int:
    print("\n".join(page()))
    return 0


def page() -> Iterator[str]:
    """The lines of composer(1). Show it with: composer man | man -l -"""
    from composer.cli.parsing.command_table import COMMANDS, module_of
    from composer.cli.parsing.examples import EXAMPLES
    from composer.cli.parsing.options import GLOBAL

    yield f'.TH COMPOSER 1 "" "composer {VERSION}"'
    yield from (".SH NAME", "composer \\- define and run multi-container applications without Docker")
    yield from (".SH SYNOPSIS", ".B composer", "[OPTIONS] COMMAND [ARGUMENTS]")
    yield from (".SH DESCRIPTION", "Reads Compose files and runs what they describe with an engine of its own.")
    yield ".SH OPTIONS"
    yield from _flags(GLOBAL)
    yield ".SH COMMANDS"
    for name in COMMANDS:
        for one in commands_of(importlib.import_module(module_of(name))):
            yield f".SS {_text('composer ' + one.usage.splitlines()[0])}"
            yield _text(one.short)
            for action, text in one.actions.items():
                yield from (".TP", f"\\fB{_text(action)}\\fR", _text(text))
            yield from _flags(one.flags)
            if examples := EXAMPLES.get(one.name):
                yield from (".PP", "Examples:", ".nf", *map(_text, examples), ".fi")
    yield from (".SH FILES", ".TP", "compose.yaml", "The project's file, where no other is named with \\-f.")
    yield from (".SH SEE ALSO", "https://github.com/compose-spec/compose-spec")


def commands_of(module: ModuleType) -> list[Command]:
    """The commands of a module: one, or those of a group."""
    group = getattr(module, "GROUP", None)
    return [*group.commands.values()] if group else [module.COMMAND]


def _flags(flags: Iterable[Flag]) -> Iterator[str]:
    for flag in sorted(flags, key=lambda flag: flag.name):
        if not flag.hidden and not flag.refused:
            value = "" if flag.kind == "bool" else f" {flag.metavar or 'VALUE'}"
            yield from (".TP", f"\\fB{_text(str(flag))}\\fR{_text(value)}", _text(flag.help))


def _text(words: str) -> str:
    """Escape for roff: a backslash, a hyphen and a leading dot or quote stay literal."""
    text = words.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return f"\\&{text}" if text.startswith((".", "'")) else text
