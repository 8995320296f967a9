"""syslog messages (RFC 3164, RFC 5424), as Docker's driver words them."""

from __future__ import annotations

import os
import socket
import time

from engine.log.local import Record

TYPE_CHECKING = False  # of typing, which a shipper need not load for this
if TYPE_CHECKING:
    from engine.log.settings import Ship

DAEMON = 3
_SEVERITY = {"stdout": 6, "stderr": 3}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Syslog:
    """Messages of one container. Options: facility, format, address."""

    def __init__(self, ship: Ship) -> None:
        options = ship["options"]
        self._facility = options.get("facility", DAEMON)
        self._format = options.get("format", "")
        scheme = (options.get("address") or {}).get("scheme", "unix")
        # TLS streams use octet counting (RFC 5425); other streams end a message with a newline, as in Docker.
        self._counted = scheme == "tcp+tls" and self._format.startswith("rfc5424")
        self._tag, self._pid, self._host = ship["tag"], os.getpid(), os.uname().nodename

    def send(self, sock: socket.socket, records: list[Record]) -> None:
        messages = [self._message(record) for record in records]
        if sock.type == socket.SOCK_DGRAM:
            for message in messages:
                sock.send(message)
        else:
            sock.sendall(b"".join(messages))

    def _message(self, record: Record) -> bytes:
        priority = self._facility * 8 + _SEVERITY[record.stream]
        text = record.text.rstrip(b"\n").replace(b"\0", b"")
        message = f"<{priority}>{self._head(record.timestamp)}".encode() + text + b"\n"
        return f"{len(message)} ".encode() + message if self._counted else message

    def _head(self, timestamp: int) -> str:
        tag, pid, host = self._tag, self._pid, self._host
        if not self._format:
            return f"{_stamp(timestamp)} {tag}[{pid}]: "
        if self._format == "rfc3164":
            return f"{_stamp(timestamp)} {host} {tag}[{pid}]: "
        return f"1 {_rfc3339(timestamp, micro=self._format == 'rfc5424micro')} {host} {tag} {pid} {tag} - "


def _stamp(timestamp: int) -> str:
    """RFC 3164, 4.1.2: local time, the day padded by a space."""
    at = time.localtime(timestamp // 1_000_000_000)
    return f"{_MONTHS[at.tm_mon - 1]} {at.tm_mday:>2} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"


def _rfc3339(timestamp: int, *, micro: bool) -> str:
    whole, rest = divmod(timestamp, 1_000_000_000)
    at = time.localtime(whole)
    minutes = at.tm_gmtoff // 60
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}" if minutes else "Z"
    return time.strftime("%Y-%m-%dT%H:%M:%S", at) + (f".{rest // 1000:06}" if micro else "") + zone
