"""Changes that are independent of a project's files, made through the supervisor of the object's group."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.errors import CommandError
from composer.cli.terminal.question import confirmed
from composer.plan.options import Options
from composer.run.protocol import End, Request
from composer.view.errors import Refusal, Unknown
from engine.errors import EngineError

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.operations import Change

CAUSE = "requested on the command line"
"""The cause of each operation."""


def perform(
    context: Context, group: str, operations: Sequence[Change], *, attach: Callable[[str], None] | None = None
) -> End:
    """Perform operations through the group's supervisor. With `attach`, each container starts after `attach` has
    returned for its id. Raises CommandError for the first failure."""
    options = Options(action="api", attach=("",) if attach is not None else ())
    return ask(context, group, Request(options=options, operations=tuple(operations)), ready=attach)


def ask(context: Context, group: str, request: Request, *, ready: Callable[[str], None] | None = None) -> End:
    """Send a request to the group's supervisor, and wait for its end. Raises CommandError for the first failure."""
    from composer.run.client import Client

    supervisor = Client(context.roots, group, context.environ, context.new_engine)
    try:
        for event in supervisor.perform(request, ready=ready):
            if isinstance(event, End):
                if event.failures:
                    raise CommandError(event.failures[0].message, event.failures[0].exit_code)
                return event
    finally:
        supervisor.close()
    raise AssertionError("events without an end")


def each(names: Iterable[str], do: Callable[[str], None], *, force: bool = False) -> int:
    """Call `do` for each name, continuing after failures, as docker does; returns 1 if there were any. With `force`, names
    of objects that do not exist are skipped."""
    code = 0
    for name in names:
        try:
            do(name)
        except (Refusal, CommandError, EngineError) as error:
            if force and isinstance(error, Unknown):
                continue
            sys.stdout.flush()
            print(error, file=sys.stderr)
            code = 1
    return code


def agreed(context: Context, warning: str, lines: Sequence[str], *, force: bool) -> bool:
    """List what a prune would remove, and ask; False with --dry-run, or when the answer is no."""
    if context.dry_run:
        for line in lines:
            print(f"DRY-RUN MODE - {line}")
        return False
    if force:
        return True
    print(f"WARNING! {warning}")
    for line in lines:
        print(f"  {line}")
    return confirmed("Are you sure you want to continue? [y/N] ", sys.stdout)
