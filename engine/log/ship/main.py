"""The shipper's process: `python -I -S main.py ROOT`, its standard input a SOCK_SEQPACKET socket of the keeper's.

    {"do": "ship", "folder", "number", "ship": {…}} + the file that is written, open   a container with a remote driver
    {"do": "end", "folder"}                                                            it has ended: send the rest
    {"do": "compress", "path"}                                                         a rotated file
    {"do": "leave"}                                                                    send what can be sent soon, and go

It answers {"done": folder} when everything of a container that has ended is sent. Without `leave`, the end of the stream
means that the keeper was killed: the next keeper's shipper goes on.
"""

from __future__ import annotations

import json
import os
import queue
import select
import socket
import sys
import threading
import time
from contextlib import suppress

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from engine.errors import EngineError
from engine.kernel import inotify
from engine.log import files, local
from engine.log.ship.source import Source
from engine.log.ship.target import Target, key

TYPE_CHECKING = False  # of typing, which a shipper need not load for this
if TYPE_CHECKING:
    from engine.log.settings import Order, ShipOrder

LAST_WORDS = 5.0
"""Seconds for sending the rest after the last container has exited."""

EVENTS = inotify.IN_MODIFY | inotify.IN_MOVED_TO | inotify.IN_ONLYDIR


class Shipper:
    def __init__(self, keeper: socket.socket) -> None:
        self._keeper = keeper
        self._watch = inotify.Inotify()
        self._sources: dict[str, tuple[Source, Target, int]] = {}
        self._folders: dict[int, str] = {}
        self._targets: dict[str, Target] = {}
        self._compress: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._compressor = threading.Thread(target=self._compress_all, daemon=True)
        self._compressor.start()

    def run(self) -> None:
        while True:
            ready = self._ready()
            if self._watch in ready:
                self._on_change()
            if self._keeper in ready:
                data, descriptors, _, _ = socket.recv_fds(self._keeper, 1 << 20, 1, socket.MSG_CMSG_CLOEXEC)
                message = json.loads(data) if data else None
                if message is None or message["do"] == "leave":
                    self._leave(gracefully=message is not None)
                    return
                self._handle(message, descriptors)

    def _ready(self) -> set[object]:
        waiting = select.poll()
        files: dict[int, object] = {one.fileno(): one for one in (self._keeper, self._watch)}
        for fd in files:
            waiting.register(fd, select.POLLIN)
        return {files[fd] for fd, _ in waiting.poll()}

    def _on_change(self) -> None:
        for number, mask, _ in self._watch.read():
            folder = self._folders.get(number, "")
            if folder in self._sources:
                self._sources[folder][1].wake()
            if mask & inotify.IN_IGNORED:  # the folder has been removed
                self._folders.pop(number, None)
                self._sources.pop(folder, None)

    def _handle(self, message: Order, descriptors: list[int]) -> None:
        match message["do"]:
            case "ship":
                self._ship(message, descriptors)
            case "end":
                self._end(message["folder"])
            case "compress":
                self._compress.put(message["path"])

    def _ship(self, message: ShipOrder, descriptors: list[int]) -> None:
        folder, ship = message["folder"], message["ship"]
        try:
            fd = descriptors[0] if descriptors else os.open(f"{folder}/{local.NAME}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._done(folder)  # it was removed while we were being replaced
            return
        if folder in self._sources:
            source, target, _ = self._sources[folder]
            if target.revive(source):
                os.close(fd)
                return
        number = -1
        with suppress(EngineError):  # it was removed already: there is nothing to wait for
            number = self._watch.add(folder, EVENTS)
            self._folders[number] = folder
        source = Source(folder, ship, fd, message["number"])
        where = key(ship)
        if where not in self._targets:
            self._targets[where] = Target(ship, self._done)
        target = self._targets[where]
        self._sources[folder] = source, target, number
        target.add(source)

    def _end(self, folder: str) -> None:
        if folder in self._sources:
            source, target, _ = self._sources[folder]
            source.ended = True
            target.wake()

    def _done(self, folder: str) -> None:
        with suppress(OSError):
            self._keeper.send(json.dumps({"done": folder}).encode())

    def _compress_all(self) -> None:
        while (path := self._compress.get()) is not None:
            try:
                files.compress(path)
            except OSError as error:
                print(f"log: compress {path}: {error.strerror}", file=sys.stderr, flush=True)

    def _leave(self, *, gracefully: bool) -> None:
        if not gracefully:
            os._exit(0)
        self._compress.put(None)
        deadline = time.monotonic() + LAST_WORDS
        for target in self._targets.values():
            target.finish(deadline)
        for target in self._targets.values():
            target.join()
        self._compressor.join(max(0.0, deadline - time.monotonic()))
        os._exit(0)


if __name__ == "__main__":
    os.nice(5)
    Shipper(socket.socket(fileno=0)).run()
