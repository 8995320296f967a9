"""Streams that are produced in a separate thread, so that writing files does not wait for decompressing, hashing and
reading (all of them release the GIL)."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterator

from engine.image.layer.compression import CHUNK
from engine.image.layer.pack import pack

_AHEAD = 16
"""How many pieces a thread may be ahead of its reader."""

Put = Callable[[bytes], None]


class _StoppedError(Exception):
    """The reader has left."""


def produced(produce: Callable[[Put], None]) -> Iterator[bytes]:
    """The pieces that `produce`, in a thread, gives to its argument, but not empty ones. Its exceptions are raised here;
    leaving the iteration early ends the thread."""
    pieces: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(piece: bytes) -> None:
        if stop.is_set():
            raise _StoppedError
        if piece:
            pieces.put(piece)

    def run() -> None:
        try:
            produce(put)
            pieces.put(None)
        except _StoppedError:
            pass
        except BaseException as error:  # every exception is passed to the reader
            pieces.put(error)

    thread = threading.Thread(target=run, name="layer", daemon=True)
    thread.start()
    try:
        while (item := pieces.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        while thread.is_alive():
            # The thread may be blocked on a full queue: make room until it has noticed the request to stop.
            try:
                pieces.get_nowait()
            except queue.Empty:
                thread.join(0.01)


def packed(folder: str, *, root_entry: bool = False, live: bool = False) -> Iterator[bytes]:
    """The tar stream of a layer's directory, as `pack` writes it, in larger pieces."""

    def produce(put: Put) -> None:
        gathered = bytearray()

        def write(data: bytes) -> None:
            gathered.extend(data)
            if len(gathered) >= CHUNK:
                put(bytes(gathered))
                gathered.clear()

        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            pack(root, write, root_entry=root_entry, live=live)
        finally:
            os.close(root)
        put(bytes(gathered))

    return produced(produce)


class Hashed:
    """Iterate once over the pieces of `source`; then `digest` is sha256:… of all of them and `size` their total length
    in bytes. The source runs in a thread."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self.digest = ""
        self.size = 0
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        return produced(self._run)

    def _run(self, put: Put) -> None:
        digest = hashlib.sha256()
        for piece in self._source:
            digest.update(piece)
            self.size += len(piece)
            put(piece)
        self.digest = "sha256:" + digest.hexdigest()
