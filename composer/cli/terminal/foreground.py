"""`up` in the foreground: show the logs of the started containers until they exit or are stopped.

Ctrl-C once   stop the services, their logs still shown
Ctrl-C twice  kill them
On a terminal there are further keys (menu.py). The exit code after a signal is 130, after Ctrl-C as a key of the menu 0.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError
from composer.cli.project.change import change
from composer.cli.project.containers import is_up, select, short_name
from composer.cli.render.ansi import paint, wants_colour
from composer.cli.render.guard import raw
from composer.cli.render.lines import Lines
from composer.cli.terminal.follow import Follower
from composer.cli.terminal.menu import Menu, Watch, is_wanted
from composer.cli.terminal.signals import listening
from composer.plan.labels import service_of

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context
    from composer.cli.terminal.streams import Outputs
    from engine.spec.state import ContainerRecord

INTERRUPT, CTRL_C, DETACH = "!", "c", "d"
"""What ends it: a signal, and two keys of the menu."""


class Foreground:
    """One attached `up`: `services` were requested, and are stopped with it; the output of `shown` is shown. It ends
    when all of both have exited. `began` is its start in seconds since the epoch."""

    def __init__(self, context: Context, args: Args, services: set[str], shown: set[str], began: float,
        outputs: Outputs,
    ) -> None:  # fmt: skip
        self._context, self._args = context, args
        stays = services & shown or services
        self._services, self._shown, self._began = services, shown, began
        self._code: int | None = None
        self._stopping: threading.Thread | None = None
        self._failure: Exception | None = None
        self._interrupts = 0
        self._signalled = False
        self._send: Callable[[str], None] = lambda word: None
        self._watch = Watch(lambda: _watching(context, args.positional, self._lines.watch))
        self._menu = Menu(context, self._watch, lambda key: self._send(key)) if is_wanted(context, args) else None
        colour = not args.no_color and wants_colour(context.ansi, sys.stdout, context.environ)
        self._colour = colour
        stdout, stderr = (self._menu.over(s) if self._menu else s for s in (raw(sys.stdout), raw(sys.stderr)))
        self._lines = Lines(stdout, stderr, colour=colour, prefix=not args.no_log_prefix, timestamps=args.timestamps)
        self._follower = Follower(
            context,
            self._lines,
            services=sorted(services | shown),
            ended=self._ended,
            outputs=outputs,
            keeps_following=lambda record: service_of(record) in stays,
        )

    def run(self) -> int:
        """Follow until everything has stopped; returns the command's exit code."""
        records = select(self._context.containers(), sorted(self._services | self._shown))
        names = [short_name(record) for record in records if service_of(record) in self._shown]
        with ExitStack() as stack:
            stack.callback(self._watch.stop)
            if self._args.watch:  # first, so that whoever reads the line below can change files
                self._watch.start()
            if names:
                print(f"Attaching to {', '.join(names)}", flush=True)
            self._follower.show_only(self._shown)
            self._follower.open(records, since=int(self._began * 1e9))
            wake, take, self._send = stack.enter_context(_interrupts())
            if self._menu is not None:
                stack.enter_context(self._menu.active())
            while True:
                self._follower.follow(wake=wake)
                word = take()
                if word == DETACH:
                    return 0
                if not word or self._failure is not None:
                    break
                self._signalled |= word != CTRL_C
                self._interrupted()
        if self._stopping is not None:
            self._stopping.join()
        if self._failure is not None:
            raise self._failure
        return self._exit_code()

    def _interrupted(self) -> None:
        self._interrupts += 1
        if self._menu is not None:
            self._menu.hide()
        if self._interrupts == 1:
            print("Gracefully Stopping... press Ctrl+C again to force", file=self._context.stderr, flush=True)
            self._begin(lambda: self._stop("stop"))
        else:
            threading.Thread(target=lambda: self._stop("kill"), daemon=True).start()

    def _ended(self, record: ContainerRecord) -> None:
        """Handle the final exit of a container: --abort-on-container-exit and related flags."""
        args, code = self._args, record.state.exit_code
        if is_up(record) or self._interrupts or service_of(record) not in self._services | self._shown:
            return
        failed = args.abort_on_container_failure and code != 0
        aborts = bool(args.abort_on_container_exit or args.exit_code_from or failed) and self._stopping is None
        if service_of(record) not in self._shown and (
            aborts or args.attach or args.no_attach
        ):  # the follower does not report it
            self._lines.status(short_name(record), f"exited with code {code}")
        if not aborts:
            return
        if self._code is None:
            self._code = code
        words = "Aborting on container exit..."
        print(paint(words, "31") if self._colour else words, file=raw(self._context.stderr), flush=True)
        self._begin(lambda: self._stop("stop"))

    def _begin(self, work: Callable[[], None]) -> None:
        if self._stopping is None:
            self._stopping = threading.Thread(target=work, daemon=True)
            self._stopping.start()

    def _stop(self, verb: str) -> None:
        try:
            extra = {"timeout": self._args.timeout} if verb == "stop" else {"signal": "SIGKILL"}
            change(self._context, verb, services=sorted(self._services), plain=True, **extra)
        except Exception as error:
            if verb == "stop" and self._interrupts > 1:
                return  # the second Ctrl-C has taken its place
            self._failure = error
            self._send(INTERRUPT)

    def _exit_code(self) -> int:
        """The exit code of --exit-code-from's service; else of the first container that exited, if that ends `up`; else
        0."""
        service = self._args.exit_code_from
        if service:
            records = select(self._context.containers(), [service])
            if not records:
                raise CommandError(
                    f"cannot determine the exit code of service {service}: its container no longer exists"
                )
            return next((r.state.exit_code for r in records if r.state.exit_code), 0)
        return 130 if self._signalled else self._code or 0


def _watching(context: Context, services: Sequence[str], write: Callable[[str], None]) -> AbstractContextManager[None]:
    from composer.cli.commands.watch import watching

    return watching(context, services, write)


@contextmanager
def _interrupts() -> Iterator[tuple[int, Callable[[], str], Callable[[str], None]]]:
    """A descriptor that SIGINT and SIGTERM make readable, as does the second function with a letter. The first function
    reads one letter, INTERRUPT for a signal, "" for none."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def send(word: str) -> None:
        os.write(write, word.encode())

    def take() -> str:
        try:
            return os.read(read, 1).decode()
        except BlockingIOError:
            return ""

    try:
        with listening((signal.SIGINT, signal.SIGTERM), lambda _: send(INTERRUPT)):
            yield read, take, send
    finally:
        os.close(read)
        os.close(write)
