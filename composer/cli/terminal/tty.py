"""The terminal of an interactive command: raw mode, window size, detach keys, and copying.

Raw mode makes every key (Ctrl-C too) a byte for the process in the container; termios(3), tty_ioctl(4).
"""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from composer import detach
from composer.cli.errors import UsageError
from composer.cli.terminal.signals import listening
from engine.poll import readable, write_all

CHUNK = 65536


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """A context manager that sets the terminal to raw mode and restores it; does nothing if `fd` is not a terminal."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        with suppress(termios.error):  # it may have been closed
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def parse_keys(text: str) -> bytes:
    """Detach keys as bytes; "" is the default. Raises UsageError."""
    try:
        return detach.parse(text)
    except ValueError:
        known = "a character, DEL, or ctrl- and one of a-z @ [ \\ ] ^ _"
        raise UsageError(f'invalid detach keys "{text}": {known}') from None


def own_size() -> tuple[int, int]:
    """Rows and columns of our terminal; (0, 0) without one."""
    for fd in (1, 0):
        with suppress(OSError):
            size = os.get_terminal_size(fd)
            return size.lines, size.columns
    return 0, 0


@contextmanager
def following_size(resize: Callable[[int, int], None]) -> Iterator[None]:
    """Call `resize` with the rows and columns of our terminal, at once and at each SIGWINCH."""

    def update(*_: object) -> None:
        with suppress(Exception):
            if any(size := own_size()):
                resize(*size)

    update()
    with listening((signal.SIGWINCH,), update):
        yield


def pump(master: int, stdin: int, stdout: int, *, ended: int = -1, keys: bytes = b"") -> bool:
    """Copy between our terminal and the master side of the container's until that ends; True when detached.

    `ended` becomes readable when the process has exited: then the rest is copied, even if a child of it keeps the
    terminal open. The end of our stdin is sent as an end-of-file character.
    """
    escape = detach.Detach(keys)
    sources = [fd for fd in (master, stdin, ended) if fd >= 0]
    while True:
        ready = readable(*sources)
        if master in ready:
            if not _copy_out(master, stdout):
                return False
        elif ended in ready:
            return False
        if stdin in ready:
            try:
                data = os.read(stdin, CHUNK)
            except OSError:  # our terminal was closed (EIO)
                sources.remove(stdin)
                continue
            if not data:
                sources.remove(stdin)
                with suppress(OSError):
                    write_all(master, b"\x04")
                continue
            data, detached = escape.feed(data)
            with suppress(OSError):
                write_all(master, data)
            if detached:
                return True


def _copy_out(master: int, stdout: int) -> bool:
    """Copy some output; False at the end, which is EIO once the last process has closed the other side. Output that our
    terminal no longer accepts is lost."""
    try:
        data = os.read(master, CHUNK)
    except OSError:
        return False
    with suppress(OSError):
        write_all(stdout, data)
    return bool(data)
