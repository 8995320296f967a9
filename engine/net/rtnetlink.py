"""A plain rtnetlink socket: many messages in one send, an answer for each (netlink(7))."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from types import TracebackType

from engine.errors import OperationFailed
from engine.kernel import calls, flags

_HEADER = struct.Struct("=IHHII")
_NLMSG_ERROR = 2


class Rtnetlink:
    """Belongs for ever to the network namespace in which it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        # Acknowledgements without a copy of the request (NETLINK_CAP_ACK).
        self._socket.setsockopt(270, 10, 1)

    @classmethod
    def inside(cls, netns: int, links: Sequence[str]) -> tuple[Rtnetlink, list[int]]:
        """A socket of the network namespace open at `netns`, and the indexes of its `links`: the calling thread steps in
        for this one call."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            calls.setns(netns, flags.CLONE["net"], subject="a container's network namespace")
            try:
                return cls(), [socket.if_nametoindex(link) for link in links]
            finally:
                calls.setns(home, flags.CLONE["net"])
        finally:
            os.close(home)

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def run(self, messages: Sequence[bytes]) -> list[int]:
        """Send all messages at once; the errno of each, 0 for done. The kernel carries them out in order."""
        errors: list[int] = []
        for start in range(0, len(messages), 64):
            errors += self._run(messages[start : start + 64])
        return errors

    def do(self, operation: str, subject: str, messages: Sequence[bytes], *, accept: Sequence[int] = ()) -> None:
        """Send and raise OperationFailed for the first one that failed with an errno not in `accept`."""
        for number in self.run(messages):
            if number and number not in accept:
                raise OperationFailed(operation, subject, number, detail=os.strerror(number))

    def _run(self, messages: Sequence[bytes]) -> list[int]:
        frame = bytearray()
        for sequence, message in enumerate(messages):
            length, kind, bits, _, _ = _HEADER.unpack_from(message)
            frame += _HEADER.pack(length, kind, bits, sequence, 0) + message[16:]
            frame += b"\0" * (-len(frame) % 4)
        self._socket.send(frame)
        errors: dict[int, int] = {}
        while len(errors) < len(messages):
            data = self._socket.recv(65536)
            offset = 0
            while offset < len(data):
                length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
                if kind == _NLMSG_ERROR:
                    errors[sequence] = -struct.unpack_from("=i", data, offset + 16)[0]
                offset += (length + 3) & ~3
        return [errors[index] for index in range(len(messages))]
