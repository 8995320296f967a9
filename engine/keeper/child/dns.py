"""The sockets of the embedded DNS server, opened inside the container's network namespace."""

from __future__ import annotations

import fcntl
import socket
import struct

ADDRESS = "127.0.0.11"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def open_sockets(port: int = 53) -> tuple[int, ...]:
    """Bind UDP and TCP (in this order) at 127.0.0.11, where lo is up; the descriptors belong to the caller.

    `port` 0 takes any, for a container that needs port 53 itself (engine/net/redirect.py leads there).
    """
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for sock in (udp, tcp):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ADDRESS, port))
    tcp.listen(16)
    return udp.detach(), tcp.detach()


def loopback_up() -> None:
    """Bring lo up in our network namespace (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        (bits,) = struct.unpack_from("16xH", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", bits | _IFF_UP))
