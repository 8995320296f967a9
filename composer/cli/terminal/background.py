"""Work beside what a command does, until that is done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[int], None]) -> Iterator[None]:
    """Run `work` in a thread while the block runs. It is given a descriptor, and is to return when that is readable."""
    read, write = os.pipe2(os.O_CLOEXEC)
    thread = threading.Thread(target=work, args=(read,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(write)
        thread.join()
        os.close(read)
