"""Signals that are handled at once, even while the main thread blocks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_STOP = b"\0"
"""No signal has this number."""


@contextmanager
def listening(numbers: Iterable[int], act: Callable[[int], None]) -> Iterator[None]:
    """A thread calls `act` with the number of each of these signals that arrives. Contexts nest; only the main thread
    may enter one.

    Python runs handlers in the main thread between two instructions, so a signal that arrives just before a blocking
    system call would not be handled until that returns. The signal itself writes to the wakeup descriptor.
    """
    mine = frozenset(numbers)
    read, write = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(write, False)
    outer = signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def listen() -> None:
        while (data := os.read(read, 1)) != _STOP:
            if data[0] in mine:
                act(data[0])
            elif outer >= 0:
                os.write(outer, data)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    before = {number: signal.signal(number, lambda *_: None) for number in mine}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(outer, warn_on_full_buffer=False)
        os.write(write, _STOP)
        thread.join()
        os.close(read)
        os.close(write)
