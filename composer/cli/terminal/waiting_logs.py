"""Show the logs of containers while a command waits for them (`up --wait`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from composer.cli.project.containers import select
from composer.cli.render.ansi import wants_colour
from composer.cli.render.guard import raw
from composer.cli.render.lines import Lines
from composer.cli.terminal.background import beside
from composer.cli.terminal.follow import Follower

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context


@contextmanager
def logs_shown(context: Context, args: Args, services: Collection[str]) -> Iterator[None]:
    """Print the logs of these services' containers from now until the end of the block; progress is shown in lines."""
    own = context.with_options(context.options)  # another thread needs an engine of its own
    own.project_name = context.project_name
    colour = not args.no_color and wants_colour(context.ansi, sys.stdout, context.environ)
    lines = Lines(
        raw(sys.stdout), raw(sys.stderr), colour=colour, prefix=not args.no_log_prefix, timestamps=args.timestamps
    )
    follower = Follower(own, lines, services=sorted(services))
    before, context.options.progress = context.options.progress, context.options.progress or "plain"
    began = time.time_ns()

    def follow(wake: int) -> None:
        follower.open(select(own.containers(), sorted(services)), since=began)
        follower.follow(wake=wake, forever=True)

    try:
        with beside(follow, context.options.progress):
            yield
    finally:
        context.options.progress = before
