"""SO_ATTACH_FILTER (socket(7)): classic BPF that selects the packets that a socket receives."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

_SO_ATTACH_FILTER = 26
_RETURN = 0x06


def attach(sock: socket.socket, instructions: Sequence[tuple[int, int, int, int]]) -> None:
    """`instructions` are struct sock_filter: code, jump if true, jump if false, constant. Raises OSError."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in instructions))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(instructions), ctypes.addressof(program))
    )


def drop_all(sock: socket.socket) -> None:
    """Have the kernel drop all packets for the socket without an answer."""
    attach(sock, [(_RETURN, 0, 0, 0)])
