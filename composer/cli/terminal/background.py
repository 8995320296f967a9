"""Background work during a command."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from composer.cli.errors import describe
from composer.cli.render.message import error_line


@contextmanager
def beside(work: Callable[[int], None], progress: str) -> Iterator[None]:
    """Run `work` in a thread while the block runs. It gets a descriptor, and must return when that is readable. Its error
    is printed for --progress `progress`. Fork before: a process forked while the thread runs could inherit a held lock.
    """
    read, write = os.pipe2(os.O_CLOEXEC)

    def run() -> None:
        try:
            work(read)
        except Exception as error:
            if os.environ.get("COMPOSER_DEBUG"):
                raise
            sys.stderr.write(error_line(describe(error)[0], progress))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(write, b"!")  # closing it is not enough: processes started meanwhile may also have it open
        thread.join()
        os.close(read)
        os.close(write)
