"""composer supervise: become a project's supervisor. Not for people: other commands and the keeper start it."""

from __future__ import annotations

import os
import sys

from composer.cli.flags import Args, Command

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.cli.context import Context

COMMAND = Command("supervise", "Be the supervisor of a project", "supervise [READY [eager]]", positional=(0, 2))
"""READY: a descriptor that gets a byte when requests may come; eager: containers are to be started."""


def run(context: Context, args: Args) -> int:
    ready = int(args.positional[0]) if args.positional else -1
    if os.fork():
        os._exit(0)  # whoever started us need not wait for us
    os.chdir("/")
    project = context.project_name
    from composer.run.control import Control

    control = Control.open(context.roots.supervisor_socket(project))
    if ready >= 0:
        os.write(ready, b"1")
        os.close(ready)
    if control is None:
        return 0
    from composer.run.client import command_line
    from composer.run.supervisor import supervise

    supervise(context.engine, project, control, command_line(context.roots, project), eager=len(args.positional) > 1)
    sys.stderr.flush()
    os._exit(0)  # there is nothing to tidy up, and the command waits for us to hang up
