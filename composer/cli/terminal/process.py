"""Our end of a process in a container: its terminal or its streams, the signals we pass on, its exit code."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from composer.cli.errors import CommandError, Detached
from composer.cli.terminal import attach_frames
from composer.cli.terminal.signals import listening
from composer.cli.terminal.tty import CHUNK, following_size, own_size, parse_keys, pump, raw
from engine.errors import KeeperAbsent, OtherVersion, StartFailed
from engine.poll import write_all

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.run.handles import Process
    from engine.spec.container import ExecSpec
    from engine.spec.state import ContainerRecord

GRACE = 3.0
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def run_exec(
    context: Context,
    record: ContainerRecord,
    spec: ExecSpec,
    *,
    detach: bool = False,
    interactive: bool = True,
    keys: str = "",
) -> int:
    """Start a process in the container and stay attached, unless detached; returns its exit code. Raises Detached once the
    detach `keys` are typed, and UsageError for wrong keys."""
    sequence = parse_keys(keys)
    if context.dry_run:
        if detach:
            return 0
        raise CommandError("interactive exec is not supported in dry-run mode")
    sys.stdout.flush()
    stdin = 0 if interactive and not detach else -1
    stdio = (-1, -1, -1) if detach else (stdin, 1, 2)
    if spec.tty and not detach:
        spec = replace(spec, console_size=own_size())  # before its program can read the size
    try:
        process = opened(
            context, record, lambda: context.engine.exec_process(record.group, record.id, spec, stdio=stdio)
        )
    except StartFailed as error:
        # As in Docker: a caller that waits for the exit code gets 126 or 127 if the program cannot be executed.
        raise CommandError(str(error), 1 if detach or error.exit_code not in (126, 127) else error.exit_code) from None
    try:
        if detach:
            return 0
        if process.stream is None:
            with passing_signals(process):
                return process.wait()
        return terminal_session(process, stdin=stdin, keys=sequence)
    finally:
        process.close()


def opened(context: Context, record: ContainerRecord, opens: Callable[[], Process]) -> Process:
    """The result of `opens`, with a keeper of this release that serves the container."""
    try:
        return opens()
    except (OtherVersion, KeeperAbsent):
        from composer.run.client import Client

        return Client(context.roots, record.group, context.environ).with_keeper(opens, context.warn)


def terminal_session(process: Process, *, stdin: int, keys: bytes, send: Callable[[int], None] | None = None) -> int:
    """Connect our terminal to the process until it exits; returns its exit code. Raises Detached when the detach keys
    are typed. Without `stdin` (-1) our terminal keeps its mode, so that Ctrl-C is a signal for us to pass on."""
    assert process.stream is not None
    mode = raw(stdin) if stdin >= 0 else nullcontext()
    with passing_signals(process, send), mode, following_size(process.resize):
        detached = pump(process.stream, stdin, 1, ended=process.fileno(), keys=keys)
    if detached:
        raise Detached
    return process.wait()


@contextmanager
def passing_signals(process: Process, send: Callable[[int], None] | None = None) -> Iterator[None]:
    """Forward signals that would end us to the process (with `send`), so that we exit with it and restore our terminal.
    A process that outlives its terminal, or SIGQUIT, for GRACE seconds is killed. Signals that were ignored at our
    start stay ignored."""

    def pass_on(number: int) -> None:
        with suppress(Exception):
            (send or process.signal)(number)
        if number in (signal.SIGHUP, signal.SIGQUIT):
            timer = threading.Timer(GRACE, kill)
            timer.daemon = True
            timer.start()

    def kill() -> None:
        with suppress(Exception):
            process.signal(signal.SIGKILL)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with listening((number for number in PASSED_ON if signal.getsignal(number) != signal.SIG_IGN), pass_on):
        yield


def feed_stdin(process: Process) -> None:
    """Copy our stdin to the process's, in the background, including its end."""

    def copy() -> None:
        assert process.stream is not None
        with suppress(OSError):
            while data := os.read(0, CHUNK):
                write_all(process.stream, data)
        with suppress(OSError), socket.socket(fileno=os.dup(process.stream)) as stream:
            stream.shutdown(socket.SHUT_WR)

    threading.Thread(target=copy, daemon=True).start()


def show_frames(stream: int) -> None:
    """Write the contents of Docker's attach frames to our stdout (1) and stderr (2) until the stream ends."""
    rest = b""
    while data := _received(stream):
        frames, rest = attach_frames.split(rest + data)
        for number, content in frames:
            write_all(2 if number == 2 else 1, content)


def _received(stream: int) -> bytes:
    """What comes next, nothing at the end. It ends with ECONNRESET if the program exited before it had read all of its
    input."""
    try:
        return os.read(stream, CHUNK)
    except ConnectionResetError:
        return b""
