"""Confirmation before a project with remote files runs: its variables, and the access to this machine that it
requires."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.terminal.question import confirmed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from composer.cli.project.context import Context
    from composer.load.options import Loaded
    from composer.plan.desired import Desired


def check_trust(context: Context, desired: Desired, names: Iterable[str], *, agreed: bool) -> None:
    """Ask before using fetched files, unless the user has `agreed` to everything. Raises CommandError when the answer
    is no."""
    if context.fetched is not None:
        _show_variables(context, context.fetched, agreed=agreed)
    lines = [line for name in names for line in desired.foreign.get(name, ())]
    if not lines or agreed or context.dry_run:
        return
    shown = "".join(f"  {line}\n" for line in dict.fromkeys(lines))
    _ask(f"The remote Compose files require this access to your machine:\n{shown}Do you allow it? [y/N] ")


def _show_variables(context: Context, loaded: Loaded, *, agreed: bool) -> None:
    """Show the folder of the project and the values of its variables, as docker compose does."""
    if context.options.progress not in ("quiet", "json"):
        print(f'Your compose stack "{loaded.inputs.remote}" is stored in "{loaded.working_dir}"', flush=True)
    rows = sorted(_rows(context, loaded).items())
    if agreed or context.dry_run or not rows:
        return
    from composer.cli.render.table import table

    heading = ("VARIABLE", "VALUE", "SOURCE", "REQUIRED", "DEFAULT")
    print("\nFound the following variables in configuration:")
    print(table([heading, *(row for _, row in rows)]), end="")
    _ask("\nDo you want to proceed with these variables? [Y/n]: ", default=True)


def _rows(context: Context, loaded: Loaded) -> dict[str, tuple[str, ...]]:
    """Variable → its line of the table."""
    rows: dict[str, tuple[str, ...]] = {}
    for variable in (use.variable for use in loaded.inputs.uses):
        default = variable.default or ""
        if variable.name in context.environ:
            value, source = context.environ[variable.name], "environment"
        elif variable.name in loaded.environment:
            value, source = loaded.environment[variable.name], "env file"
        elif default:
            value, source = default, "compose file"
        else:
            value, source = "<unset>", "none"
        rows[variable.name] = (variable.name, value, source, "yes" if variable.required else "no", default)
    return rows


def _ask(question: str, *, default: bool = False) -> None:
    if not confirmed(question, sys.stdout, default=default):
        raise CommandError("operation cancelled by user")
