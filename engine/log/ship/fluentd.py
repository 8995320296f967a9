"""Fluentd's Forward protocol, forward mode: [tag, [[time, record] …], options], acknowledged on request."""

from __future__ import annotations

import base64
import os
import socket

from engine.log.local import Record
from engine.log.ship.msgpack import EventTime, Value, pack, unpack_strings

TYPE_CHECKING = False  # of typing, which a shipper need not load for this
if TYPE_CHECKING:
    from engine.log.settings import Ship

ACK_TIMEOUT = 30.0


class Fluentd:
    """Events of one container with Docker's record: container_id, container_name, source, log, labels and variables."""

    def __init__(self, ship: Ship) -> None:
        options = ship["options"]
        self._tag = ship["tag"]
        self._fine = options.get("sub-second-precision", False)
        self._acknowledged = options.get("request-ack", False)
        self._patience = options.get("read-timeout") or ACK_TIMEOUT
        self._common: dict[str, Value] = {
            "container_id": ship["id"],
            "container_name": f"/{ship['name']}",
            **ship["attrs"],
        }
        self._partial: dict[str, tuple[str, int]] = {}

    def send(self, sock: socket.socket, records: list[Record]) -> None:
        """Send the batch. Raises OSError, also if the acknowledgement is missing or belongs to another batch."""
        options: dict[str, Value] = {"size": len(records)}
        chunk = base64.b64encode(os.urandom(16)).decode()
        if self._acknowledged:
            options["chunk"] = chunk
        entries: list[Value] = [[self._time(record.timestamp), self._record(record)] for record in records]
        sock.sendall(pack([self._tag, entries, options]))
        if self._acknowledged:
            self._await(sock, chunk)

    def _time(self, timestamp: int) -> Value:
        return EventTime(timestamp) if self._fine else timestamp // 1_000_000_000

    def _record(self, record: Record) -> dict[str, Value]:
        found: dict[str, Value] = {
            **self._common,
            "source": record.stream,
            "log": record.text.removesuffix(b"\n").decode(errors="replace"),
        }
        complete = record.text.endswith(b"\n")
        if not complete or record.stream in self._partial:
            name, ordinal = self._partial.get(record.stream, (os.urandom(16).hex(), 0))
            self._partial[record.stream] = (name, ordinal + 1)
            found |= {
                "partial_message": "true", "partial_id": name, "partial_ordinal": str(ordinal + 1),
                "partial_last": "true" if complete else "false",
            }  # fmt: skip
        if complete:
            self._partial.pop(record.stream, None)
        return found

    def _await(self, sock: socket.socket, chunk: str) -> None:
        sock.settimeout(self._patience)
        answer = b""
        while True:
            data = sock.recv(4096)
            if not data:
                raise ConnectionResetError("the connection ended without an acknowledgement")
            answer += data
            try:
                found = unpack_strings(answer)
            except ValueError as error:
                raise OSError(f"the acknowledgement is malformed: {error}") from error
            if found is not None:
                if found.get("ack") != chunk:
                    raise OSError("the acknowledgement is for another batch")
                return
