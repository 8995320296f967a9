"""Background work during a command."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[int], None]) -> Iterator[None]:
    """Run `work` in a thread while the block runs. It gets a descriptor, and must return when that is readable. Fork
    before: a process forked while the thread runs could inherit a held lock.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    thread = threading.Thread(target=work, args=(read,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(write, b"!")  # closing it is not enough: processes started meanwhile may also have it open
        thread.join()
        os.close(read)
        os.close(write)
