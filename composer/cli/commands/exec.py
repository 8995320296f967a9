"""composer exec: run a further process in a running container, and return its exit code.

On a terminal the process gets a pseudo-terminal inside the container, and ours is set to raw mode.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import check_process, one
from engine.spec.container import ExecSpec

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "exec",
    "exec [OPTIONS] SERVICE COMMAND [ARGS...]",
    (
        Flag("detach", "Run the command in the background", short="d"),
        Flag(
            "env", "Set environment variables: NAME=VALUE, or NAME to pass on the caller's value", "strings", short="e"
        ),
        Flag("index", "Index of the container if the service has several", "uint", default=0),
        Flag("interactive", "Keep STDIN open even if not attached", short="i", default=True, hidden=True),
        Flag(
            "no-tty",
            "Do not allocate a pseudo-TTY; the default is to allocate one when composer runs in a terminal",
            short="T",
            aliases=("no-TTY",),
        ),
        Flag("privileged", "Give extended privileges to the process"),
        Flag("tty", "Allocate a pseudo-TTY", short="t", default=True, hidden=True),
        Flag("user", "Run the command as this user", "string", short="u"),
        Flag("workdir", "Working directory of the command", "string", short="w"),
    ),
    positional=(2, None),
    interspersed=False,
)


def environment(pairs: Sequence[str], environ: Mapping[str, str]) -> dict[str, str | None]:
    """-e NAME=VALUE, and -e NAME for the value in our own environment (nothing if it is not set)."""
    result: dict[str, str | None] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name:
            raise UsageError(f'invalid environment variable "{pair}": no name')
        if equals:
            result[name] = value
        elif name in environ:
            result[name] = environ[name]
    return result


def wants_tty(args: Args, *, interactive: bool) -> bool:
    """Whether the process gets a pseudo-terminal: by -t or -T, else if our stdin and stdout are terminals. Raises
    CommandError for -t when our stdin, which becomes its input, is not a terminal."""
    if "tty" in args.given and "no-tty" in args.given:
        raise UsageError("--tty and --no-tty can't be used together")
    if "tty" in args.given or "no-tty" in args.given:
        wanted = bool(args.tty) if "tty" in args.given else not args.no_tty
        if wanted and interactive and not os.isatty(0):
            raise CommandError("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
        return wanted
    return os.isatty(0) and sys.stdout.isatty()


def run(context: Context, args: Args) -> int:
    service, *command = args.positional
    record = one(context, service, args.index)
    check_process(record, "exec")
    tty = not args.detach and wants_tty(args, interactive=args.interactive)
    if args.workdir and not args.workdir.startswith("/"):
        raise CommandError(f'the working directory "{args.workdir}" is invalid: it needs to be an absolute path', 128)
    environ = environment(args.env, context.environ)
    if tty and "TERM" in context.environ:
        environ.setdefault("TERM", context.environ["TERM"])
    spec = ExecSpec(
        args=tuple(command),
        environment=environ,
        working_dir=args.workdir,
        user=args.user,
        tty=tty,
        privileged=args.privileged,
    )
    from composer.cli.terminal.process import run_exec

    return run_exec(context, record, spec, detach=args.detach, interactive=args.interactive)
