"""composer logs: show the logs of containers, merged by time, and with -f follow them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.parsing.timestamps import parse_timestamp
from composer.cli.project.containers import select

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from engine.spec.state import ContainerRecord

COMMAND = command(
    "logs",
    "logs [OPTIONS] [SERVICE...]",
    (
        Flag("follow", "Follow log output", short="f"),
        Flag("hooks", "Also show the output of post_start and pre_stop hooks"),
        Flag("index", "Index of the container if the service has several", "uint", default=0),
        Flag("no-color", "No colours"),
        Flag("no-log-prefix", "Don't print prefix in logs"),
        Flag("since", "Show logs since a time (2013-01-02T13:23:37Z) or a duration ago (42m)", "string"),
        Flag(
            "tail", "Number of lines to show from the end of each container's logs", "string", short="n", default="all"
        ),
        Flag("timestamps", "Show timestamps", short="t"),
        Flag("until", "Show logs before a time (2013-01-02T13:23:37Z) or a duration ago (42m)", "string"),
    ),
)


def parse_tail(text: str) -> int | None:
    """None for all lines."""
    if text in ("all", "", "-1"):
        return None
    if not text.isdecimal():
        raise UsageError(f'invalid --tail "{text}": a number of lines, or all')
    return int(text)


def _ignore(record: ContainerRecord) -> None:
    pass


def run(context: Context, args: Args) -> int:
    tail = parse_tail(args.tail)
    since = parse_timestamp(args.since) if args.since else 0
    until = parse_timestamp(args.until) if args.until else 0
    context.check_shown(args.positional)
    records = select(context.containers(), args.positional, index=args.index)
    if args.index and not records:
        raise CommandError(f'service "{args.positional[0]}" has no container #{args.index}')
    from composer.cli.render.ansi import wants_colour
    from composer.cli.render.guard import raw
    from composer.cli.render.lines import Lines
    from composer.cli.terminal.follow import Follower

    colour = not args.no_color and wants_colour(context.ansi, sys.stdout, context.environ)
    out = raw(sys.stdout)  # for both of a container's streams, as with docker compose: `logs | grep` sees all
    lines = Lines(out, out, colour=colour, prefix=not args.no_log_prefix, timestamps=args.timestamps)
    ended = _ignore if args.follow else None  # the follower reports exits and recreations itself
    follower = Follower(context, lines, services=args.positional, index=args.index, ended=ended, hooks=args.hooks)
    follower.open(records, since=since, until=until, tail=tail)
    follower.past()
    if args.follow:
        follower.follow(until=until)
    follower.finish_lines()
    return 0
