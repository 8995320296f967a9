"""The sockets of the embedded DNS server, opened inside the container's network namespace."""

from __future__ import annotations

import socket
import struct

from engine.vocabulary import DNS_ADDRESS

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.child.kernel import Kernel
    from engine.keeper.child.progress import Progress

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


def serve(kernel: Kernel, progress: Progress) -> None:
    """Send the sockets to the keeper, or report that there are none."""
    if progress.bundle["namespaces"].get("net") == "new":
        loopback_up(kernel)  # lo works even without any other network
    port = progress.bundle.get("dns")
    descriptors = () if port is None else open_sockets(kernel, port)
    kernel.send({"event": "sockets"}, descriptors)
    for fd in descriptors:
        kernel.close(fd)


def open_sockets(kernel: Kernel, port: int = 53) -> tuple[int, int]:
    """Bind UDP and TCP (in this order) at 127.0.0.11; lo must be up. The caller owns the descriptors. `port` 0 means
    any, for a container that needs port 53 itself (engine/net/redirect.py redirects to it).
    """
    udp, tcp = kernel.socket(socket.SOCK_DGRAM), kernel.socket(socket.SOCK_STREAM)
    for sock in (udp, tcp):
        kernel.setsockopt(sock, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kernel.bind(sock, DNS_ADDRESS, port)
    kernel.listen(tcp, 16)
    return udp, tcp


def loopback_up(kernel: Kernel) -> None:
    """Bring lo up in our network namespace (netdevice(7))."""
    control = kernel.socket(socket.SOCK_DGRAM)
    try:
        kernel.ioctl(control, _SIOCSIFFLAGS, struct.pack("=16sH22x", b"lo", _IFF_UP))
    finally:
        kernel.close(control)
