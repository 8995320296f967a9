"""composer supervise: become a project's supervisor. Internal: other commands and the keeper start it."""

from __future__ import annotations

import os
import sys

from composer.cli.parsing.flags import Args, Command

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = Command("supervise", "Run the supervisor of a project", "supervise [READY]", positional=(0, 1))
"""READY: a descriptor that gets a byte when requests may come."""


def run(context: Context, args: Args) -> int:
    if os.fork():
        os._exit(0)  # our starter need not reap us
    from composer.run.launch import supervise

    ready = int(args.positional[0]) if args.positional else -1
    # Unchecked: the group of the Docker API's containers has a name that no project can have.
    supervise(context.engine, context.roots, context.options.project_name, ready)
    sys.stderr.flush()
    os._exit(0)  # there is nothing to clean up, and the command waits for the end of the connection
