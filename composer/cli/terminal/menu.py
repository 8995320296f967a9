"""The menu of an attached `up`: a line at the bottom of the terminal, below the output of containers.

    v   the project's containers        w   watch, or watch no longer
    o   the project's configuration     d   leave, and let the containers run
    Ctrl-C   stop the services

Meanwhile the terminal passes keys one by one without echo. Ctrl-C is one of them, so that it is known from a signal;
Ctrl-Z and Ctrl-\\ still send theirs.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout, suppress
from io import StringIO
from typing import TYPE_CHECKING, Any, TextIO

from composer.cli.parsing.flags import FALSE
from composer.cli.render.ansi import is_terminal, paint, wants_colour, wants_control
from composer.cli.render.guard import Guarded, raw
from engine.poll import readable

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args
    from composer.cli.project.context import Context

_ERASE = "\r\x1b[K"
_CTRL_C = "\x03"


def is_wanted(context: Context, args: Args) -> bool:
    """Whether to show the menu: --menu, else COMPOSE_MENU, else if stdin and stdout are a terminal and we are in its
    foreground."""
    requested = args.menu if "menu" in args.given else context.environ.get("COMPOSE_MENU", "") not in FALSE
    if not requested or not (is_terminal(sys.stdin) and wants_control(context.ansi, raw(sys.stdout))):
        return False
    with suppress(OSError):
        return is_terminal(raw(sys.stdout)) and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    return False


class Watch:
    """Watching that can be switched on and off. `begin` returns a context manager that watches."""

    def __init__(self, begin: Callable[[], AbstractContextManager[None]]) -> None:
        self._begin, self._stack = begin, ExitStack()
        self.on = False

    def start(self) -> None:
        self._stack.enter_context(self._begin())
        self.on = True

    def stop(self) -> None:
        self._stack.close()
        self.on = False


class Menu:
    """`send` is called with "d" when the user wants to detach, with "c" on Ctrl-C."""

    def __init__(self, context: Context, watch: Watch, send: Callable[[str], None]) -> None:
        self._context, self._watch, self._send = context, watch, send
        self._terminal = raw(sys.stdout)
        self._colour = wants_colour(context.ansi, self._terminal, context.environ)
        self._lock = threading.RLock()
        self._shown = self._drawn = False
        self._acts: Mapping[str, Callable[[], None]] = {
            "v": self._containers, "o": self._configuration, "w": self._toggle, "d": lambda: self._send("d"),
            "\n": lambda: self._show_line(""), _CTRL_C: lambda: self._send("c"),
        }  # fmt: skip

    def over(self, stream: TextIO) -> TextIO:
        """A stream that keeps the menu below its output."""
        return _Over(self, stream)  # type: ignore[return-value]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Show the menu and act on keys; the terminal is restored at the end of the block."""
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
        stderr, progress = self._context.stderr, self._context.options.progress
        read, write = os.pipe2(os.O_CLOEXEC)
        keys = threading.Thread(target=self._keys, args=(fd, read), daemon=True)
        handlers = {signal.SIGCONT: signal.signal(signal.SIGCONT, lambda *_: self._continue(fd, before))}
        for number in (signal.SIGHUP, signal.SIGQUIT):
            if signal.getsignal(number) == signal.SIG_DFL:
                handlers[number] = signal.signal(number, lambda number, _: self._die(number, fd, before))
        try:
            above: Any = Guarded(self.over(raw(stderr)))
            self._context.stderr = self._context.build_log = above
            self._context.options.progress = progress or "plain"
            _one_by_one(fd, before)
            self._shown = True
            self.write(self._terminal, "")
            keys.start()
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.write(write, b"!")  # closing it is not enough: a supervisor forked meanwhile also has it open
            if keys.is_alive():
                keys.join()
            os.close(read)
            os.close(write)
            self.hide()
            _restore(fd, before)
            self._context.stderr, self._context.options.progress = stderr, progress
            self._context.build_log = None

    def hide(self) -> None:
        """Hide the menu."""
        with self._lock:
            self._shown = False
            self._erase()
            self._terminal.flush()

    def write(self, stream: TextIO, text: str) -> None:
        """Write to a stream of this terminal; text without a final newline is continued later."""
        with self._lock:
            self._erase()
            stream.write(text)
            stream.flush()
            if self._shown and (not text or text.endswith("\n")):
                self._terminal.write(self._line())
                self._terminal.flush()
                self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._terminal.write(_ERASE)
            self._terminal.flush()
            self._drawn = False

    def _line(self) -> str:
        words = (
            ("v", "View"),
            ("o", "View Config"),
            ("w", f"{'Disable' if self._watch.on else 'Enable'} Watch"),
            ("d", "Detach"),
        )
        plain = "   ".join(f"{key} {word}" for key, word in words)
        if len(plain) >= self._columns():  # a second line could not be erased
            return ""
        if not self._colour:
            return plain
        return "   ".join(f"{paint(key, '1;7')} {paint(word, '2')}" for key, word in words)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._terminal.fileno()).columns or 80
        except OSError:
            return 80

    def _keys(self, fd: int, stop: int) -> None:
        while True:
            ready = readable(fd, stop)
            if stop in ready:
                return
            try:
                key = os.read(fd, 1)
            except OSError:
                return
            if not key:
                return
            if act := self._acts.get(key.decode("latin-1").replace("\r", "\n")):
                try:
                    act()
                except Exception as error:
                    self._show_line(f"menu: {error}")

    def _continue(self, fd: int, before: list[Any]) -> None:
        """After Ctrl-Z and fg, set the terminal modes again, which the shell has changed."""
        with suppress(termios.error):
            _one_by_one(fd, before)
        self.write(self._terminal, "")

    def _die(self, number: int, fd: int, before: list[Any]) -> None:
        """Let the signal end us as if it had not been caught, but restore the terminal first."""
        with suppress(OSError):
            os.write(self._terminal.fileno(), _ERASE.encode())
        _restore(fd, before)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def _show_line(self, text: str) -> None:
        self.write(self._terminal, f"{text}\n")

    def _toggle(self) -> None:
        if self._watch.on:
            self._watch.stop()
            self._show_line("Watch disabled")
        else:
            self._watch.start()
            self.write(self._terminal, "")

    def _containers(self) -> None:
        from composer.cli.commands import ps

        self._show(ps)

    def _configuration(self) -> None:
        from composer.cli.commands import config

        self._show(config)

    def _show(self, command: Any) -> None:
        """Show the output of another command."""
        from composer.cli.parsing.flags import parse

        with redirect_stdout(Guarded(StringIO())) as printed:
            command.run(self._context, parse(command.COMMAND.flags, []))
        self.write(self._terminal, raw(printed).getvalue())  # type: ignore[attr-defined]


class _Over:
    """A stream on the menu's terminal."""

    def __init__(self, menu: Menu, stream: TextIO) -> None:
        self._menu, self._stream = menu, stream

    def write(self, text: str) -> int:
        self._menu.write(self._stream, text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _restore(fd: int, before: list[Any]) -> None:
    with suppress(termios.error):  # the terminal may be closed
        termios.tcsetattr(fd, termios.TCSANOW, before)


def _one_by_one(fd: int, before: list[Any]) -> None:
    """Set the terminal to pass keys one by one without echo, Ctrl-C too; other keys for signals still work."""
    modes = [*before[:3], before[3] & ~(termios.ICANON | termios.ECHO), *before[4:6], [*before[6]]]
    modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
    modes[6][termios.VINTR] = os.fpathconf(fd, "PC_VDISABLE").to_bytes(1, "little")
    termios.tcsetattr(fd, termios.TCSANOW, modes)
