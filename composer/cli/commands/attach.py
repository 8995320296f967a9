"""composer attach: connect the terminal to a running container's first process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag
from composer.cli.project.containers import one

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.run.handles import Process
    from engine.spec.state import ContainerRecord

COMMAND = command(
    "attach",
    "attach [OPTIONS] SERVICE",
    (
        Flag("detach-keys", "Key sequence for detaching (default: ctrl-p,ctrl-q)", "string"),
        Flag("index", "Index of the container if the service has several", "uint", default=0),
        Flag("no-stdin", "Do not attach STDIN"),
        Flag("sig-proxy", "Forward received signals to the process", default=True),
    ),
    positional=(1, 1),
)


def run(context: Context, args: Args) -> int:
    record = one(context, args.positional[0], args.index)
    return attach(context, record, stdin=not args.no_stdin, keys=args.detach_keys, sig_proxy=args.sig_proxy)


def attach(
    context: Context, record: ContainerRecord, *, stdin: bool = True, keys: str = "", sig_proxy: bool = True
) -> int:
    """Stay attached until the process exits (returns its exit code) or the detach keys are typed (0)."""
    from composer.cli.terminal.process import opened
    from composer.cli.terminal.tty import parse_keys

    if context.dry_run:
        raise CommandError("interactive run is not supported in dry-run mode")
    sequence = parse_keys(keys)
    process = opened(context, record, lambda: context.engine.attach(record.group, record.id))
    try:
        stdin = stdin and (record.spec.tty or record.spec.stdin_open)
        signal = sender(context, record, process)
        return relay_until_exit(
            process, tty=record.spec.tty, stdin=stdin, keys=sequence, sig_proxy=sig_proxy, signal=signal
        )
    finally:
        process.close()


def sender(context: Context, record: ContainerRecord, process: Process) -> Callable[[int], None]:
    """Sends a signal as `kill` does, so that it counts as a stop for a restart policy."""
    if record.spec.restart.policy == "no":
        return process.signal

    def send(number: int) -> None:
        from composer.cli.project.direct_changes import CAUSE, perform
        from composer.plan.operations import Kill
        from engine.errors import EngineError

        name = record.spec.name
        try:
            kill = Kill(id=0, name=name, cause=CAUSE, container_id=record.id, signal=str(number))
            perform(context, record.group, [kill])
        except (CommandError, EngineError):
            process.signal(number)

    return send


def relay_until_exit(
    process: Process,
    *,
    tty: bool,
    stdin: bool,
    keys: bytes,
    sig_proxy: bool = True,
    signal: Callable[[int], None] | None = None,
) -> int:
    """The same with an attached process. `signal` sends a signal in place of the process's own method."""
    from composer.cli.terminal.process import feed_stdin, passing_signals, show_frames, terminal_session

    sys.stdout.flush()
    assert process.stream is not None
    if tty:
        return terminal_session(process, stdin=0 if stdin else -1, keys=keys, send=signal)
    if stdin:
        feed_stdin(process)
    with passing_signals(process, signal) if sig_proxy else nullcontext():
        show_frames(process.stream)
        return process.wait()
