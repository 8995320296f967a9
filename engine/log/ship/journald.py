"""journald's native protocol (systemd, Native Journal Protocol): one datagram an entry, fields by lines or by length."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
import socket
import struct

from engine.log.local import Record
from engine.rfc3339 import nine_digits

TYPE_CHECKING = False  # of typing, which a shipper need not load for this
if TYPE_CHECKING:
    from engine.log.settings import Ship

_PRIORITY = {"stdout": b"6", "stderr": b"3"}
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Journald:
    """Entries of one container, with Docker's fields; labels and variables become fields, too."""

    def __init__(self, ship: Ship) -> None:
        fields = {
            "CONTAINER_ID": ship["id"][:12],
            "CONTAINER_ID_FULL": ship["id"],
            "CONTAINER_NAME": ship["name"],
            "CONTAINER_TAG": ship["tag"],
            "IMAGE_NAME": ship["image"],
            "SYSLOG_IDENTIFIER": ship["tag"],
        }
        for name, value in ship["attrs"].items():
            fields.setdefault(_field_name(name), value)
        self._common = b"".join(_field(name.encode(), value.encode()) for name, value in fields.items())
        self._ordinal = {"stdout": 0, "stderr": 0}

    def send(self, sock: socket.socket, records: list[Record]) -> None:
        for record in records:
            entry = self._entry(record)
            try:
                sock.send(entry)
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                    raise
                _send_file(sock, entry)

    def _entry(self, record: Record) -> bytes:
        text, stream = record.text, record.stream
        entry = self._common + _field(b"PRIORITY", _PRIORITY[stream])
        entry += _field(b"SYSLOG_TIMESTAMP", nine_digits(record.timestamp).encode())
        complete = text.endswith(b"\n")
        if not complete or self._ordinal[stream]:
            self._ordinal[stream] += 1
            entry += _field(b"CONTAINER_PARTIAL_ORDINAL", str(self._ordinal[stream]).encode())
            entry += _field(b"CONTAINER_PARTIAL_LAST", b"true" if complete else b"false")
            if not complete:
                entry += _field(b"CONTAINER_PARTIAL_MESSAGE", b"true")
        if complete:
            self._ordinal[stream] = 0
        return entry + _field(b"MESSAGE", text.removesuffix(b"\n"))


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name + b"=" + value + b"\n"


def _field_name(name: str) -> str:
    """Upper case, digits and underscores; an underscore cannot come first."""
    return re.sub(r"[^A-Z0-9_]", "_", name.upper()).lstrip("_")[:64] or "_"


def _send_file(sock: socket.socket, entry: bytes) -> None:
    """Send an entry that is too long for a datagram as a sealed memory file."""
    fd = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(entry)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        sock.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    finally:
        os.close(fd)
