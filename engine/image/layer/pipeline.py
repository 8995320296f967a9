"""Decompress and hash in a separate thread, so that writing files does not wait for them (both release the GIL)."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator

_AHEAD = 8


class Hashed:
    """Iterate once over the pieces of `source`; then `digest` is sha256:… of all of them and `size` their total length
    in bytes.

    The source runs in a thread, at most a few pieces ahead. Its exceptions are raised here; leaving the iteration early (or
    `close`) ends the thread.
    """

    def __init__(self, source: Iterator[bytes]) -> None:
        self.digest = ""
        self.size = 0
        self._source = source
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="layer", daemon=True)

    def __iter__(self) -> Iterator[bytes]:
        self._thread.start()
        try:
            while True:
                item = self._queue.get()
                if isinstance(item, BaseException):
                    raise item
                if not item:
                    return
                yield item
        finally:
            self.close()

    def close(self) -> None:
        self._stop.set()
        while self._thread.is_alive():
            # The thread may be blocked on a full queue: make room until it has noticed the request to stop.
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.01)

    def _run(self) -> None:
        digest = hashlib.sha256()
        try:
            for piece in self._source:
                digest.update(piece)
                self.size += len(piece)
                if self._stop.is_set():
                    return
                self._queue.put(piece)
            self.digest = "sha256:" + digest.hexdigest()
            self._queue.put(b"")
        except BaseException as error:  # every exception is passed to the reader
            self._queue.put(error)
