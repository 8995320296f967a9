"""A target and the thread that sends to it, for all containers that share it."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from engine.log.local import Record
from engine.log.ship.connect import connect
from engine.log.ship.fluentd import Fluentd
from engine.log.ship.journald import Journald
from engine.log.ship.source import Source
from engine.log.ship.syslog import Syslog

TYPE_CHECKING = False  # of typing, which a shipper need not load for this
if TYPE_CHECKING:
    from engine.log.settings import Ship

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds between two attempts to reach a target; doubled each time."""

BUFFER_LIMIT = 1 << 20
"""Events that are kept for an unreachable fluentd, as in Docker by default."""

_CONNECTION = (
    "address", "tls-ca-cert", "tls-cert", "tls-key", "tls-skip-verify", "write-timeout", "read-timeout", "request-ack",
    "retry-wait", "max-retries", "async-reconnect-interval",
)  # fmt: skip


class Driver(Protocol):
    def send(self, sock: socket.socket, records: list[Record]) -> None:
        """Send all of it. After an OSError it is unknown how much has arrived, and the connection is unusable."""
        ...


def driver(ship: Ship) -> Driver:
    return _DRIVERS[ship["driver"]](ship)


_DRIVERS: dict[str, Callable[[Ship], Driver]] = {
    "syslog": Syslog,
    "journald": Journald,
    "fluentd": Fluentd,
}


def key(ship: Ship) -> str:
    """Containers with the same key share a connection."""
    options = {name: value for name, value in ship["options"].items() if name in _CONNECTION}
    return json.dumps([ship["driver"], options], sort_keys=True)


class Target:
    """`done` is called with the directory of each container that has exited, once its whole log is sent."""

    def __init__(self, ship: Ship, done: Callable[[str], None]) -> None:
        self._ship, self._options, self._done = ship, ship["options"], done
        self._sock: socket.socket | None = None
        self._condition = threading.Condition()
        self._fresh = False
        self._sources: dict[Source, Driver] = {}
        self._deadline = float("inf")
        self._failures = 0
        self._was_away = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, source: Source) -> None:
        with self._condition:
            self._sources[source] = driver(source.ship)
        self.wake()

    def revive(self, source: Source) -> bool:
        """The container runs again; False when its source has been closed."""
        with self._condition:
            source.ended = False
            self._fresh = True
            self._condition.notify()
            return source in self._sources

    def wake(self) -> None:
        with self._condition:
            self._fresh = True
            self._condition.notify()

    def finish(self, deadline: float) -> None:
        """Send what is pending and end, at `deadline` (monotonic) at the latest."""
        self._deadline = deadline
        self.wake()

    def join(self) -> None:
        self._thread.join(max(0.0, self._deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._fresh)
                self._fresh = False
                sources = list(self._sources.items())
            waiting = dict(sources)
            while waiting:
                for source, how in list(waiting.items()):
                    records = source.batch()
                    if not records or not self._deliver(source, how, records):
                        del waiting[source]
            with self._condition:
                for source, _ in sources:
                    if source.ended:
                        del self._sources[source]
                        source.close()
                        self._done(source.folder)
            if self._deadline != float("inf"):
                return

    def _deliver(self, source: Source, how: Driver, records: list[Record]) -> bool:
        """Send, with retries. False if the time is over, or the lines were dropped."""
        while True:
            try:
                if self._sock is None:
                    self._sock = connect(self._ship)
                if self._was_away:
                    records = self._came_back(source, records)
                how.send(self._sock, records)
            except OSError as error:
                self._failed(error)
                if self._given_up():
                    return self._abandon(source, records)
                if not self._pause():
                    return False
                continue
            self._failures = 0
            with suppress(OSError):
                source.sent()
            return True

    def _came_back(self, source: Source, records: list[Record]) -> list[Record]:
        self._was_away = False
        self._report("the target is reachable again")
        if self._ship["driver"] != "fluentd":
            return records
        skipped = source.trim(int(self._options.get("buffer-limit", BUFFER_LIMIT)))
        if skipped:
            note = f"{skipped} lines of output were dropped: the queue exceeded fluentd-buffer-limit"
            return [*records, source.note(note)]
        return records

    def _failed(self, error: OSError) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._failures += 1
        if not self._was_away:
            self._was_away = True
            self._report(f"{error.strerror or error}; lines are queued")

    def _given_up(self) -> bool:
        most = self._options.get("max-retries")
        return most is not None and self._failures > most

    def _abandon(self, source: Source, records: list[Record]) -> bool:
        lost = len(records) + source.trim(0)
        source.sent()
        self._report(f"giving up on {lost} lines of {source.ship['name']} after {self._failures} attempts")
        self._failures = 0
        return False

    def _pause(self) -> bool:
        """Wait before the next attempt; False if the end comes first."""
        step = self._options.get("retry-wait") or self._options.get("async-reconnect-interval")
        pause = step or min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        with self._condition:
            until = time.monotonic() + pause
            self._condition.wait_for(lambda: time.monotonic() >= min(until, self._deadline), pause)
        return time.monotonic() < self._deadline

    def _report(self, text: str) -> None:
        with suppress(OSError):
            print(f"log driver {self._ship['driver']}: {text}", file=sys.stderr, flush=True)
