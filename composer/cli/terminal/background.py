"""Work beside what a command does, until that is done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[int], None]) -> Iterator[None]:
    """Run `work` in a thread while the block runs. It is given a descriptor, and is to return when that is readable.

    A process that is forked while the thread runs may inherit a lock that nobody releases: fork before.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    thread = threading.Thread(target=work, args=(read,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(write, b"!")  # closing it is not enough: what was forked or started meanwhile may hold it, too
        thread.join()
        os.close(read)
        os.close(write)
