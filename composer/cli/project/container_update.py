"""`container update`: change limits and the restart policy of containers, as the Docker API does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.errors import CommandError, UsageError
from composer.cli.project.container_request import limits, restart
from composer.cli.project.direct_changes import each, perform
from composer.serve.docker.body import shaped
from composer.serve.docker.update import Wanted, operation
from composer.serve.http.errors import HTTPError
from composer.view import lookup

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context


def update(context: Context, args: Args) -> int:
    """Print the name of each container that was changed. UsageError without a flag or for a wrong value."""
    if not args.given:
        raise UsageError("you must provide one or more flags when using this command")
    policy = {"RestartPolicy": restart(args.restart)} if args.restart else {}
    payload, _ = shaped({**limits(args), **policy}, Wanted)

    def one(name: str) -> None:
        record = lookup.container(context.engine, name)
        try:
            change = operation(record, payload)
        except HTTPError as error:
            raise CommandError(error.message) from None
        if not context.dry_run:
            perform(context, record.group, [change])
        print(name)

    return each(args.positional, one)
