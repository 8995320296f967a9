"""Serves published ports that packet rules cannot: over IPv6 for a container without IPv6, datagrams to ::1, and every port
if we have no packet rules, as for an ordinary user. Each supervisor has one relay process (relay.c), which exits when its
socket to us closes.

Packet rules direct connections to an inlet: one socket for each IP version and protocol, whatever the number of ports. Ports
without such rules have listening sockets of their own."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence

from msgspec import Struct

from engine.errors import OperationFailed
from engine.kernel import flags
from engine.kernel.sealed_memory import sealed
from engine.net.firewall.published_ports import Port
from engine.net.netlink_abi import FAMILIES
from engine.net.relay.inlets import Inlets
from engine.readable import Readable
from engine.spec.container import PortBinding
from engine.vocabulary import IP_PROTOCOLS

_ADD, _REMOVE, _PUBLISH = 1, 2, 3
_MOST_ENTRIES = 180
"""Ports of one message at most (MOST_ENTRIES of published.h)."""
_HEAD = struct.Struct("=IIII")  # struct message
_LISTENING = struct.Struct("=HH")
_PUBLISHED = struct.Struct("=HHH16s")
_ROUTE = struct.Struct("=BBBB28s28s")
_PATIENCE = 2.0
"""Seconds within which the process must answer; otherwise we kill and replace it."""
_PAUSE = 1.0
"""Minimum seconds between two starts."""


class Target(Struct, frozen=True):
    """A container's addresses ("" for none). `keep`: it sees the client's address, unless that is in one of its networks,
    whose prefixes have these lengths."""

    v4: str
    v6: str
    keep: bool = False
    bits4: int = 0
    bits6: int = 0


class _Served(Struct, frozen=True):
    group: int
    sockets: list[tuple[socket.socket, PortBinding]]
    ports: list[Port]
    """Those that come through inlets."""
    target: Target


class Relay:
    """The process, which exists while it has something to serve. `folder`: where it may create an unnamed file if the
    kernel does not execute programs in memory (vm.memfd_noexec)."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._served: dict[str, _Served] = {}
        self._groups = 0
        self._inlets = Inlets()
        self._pid = 0
        self._control: socket.socket | None = None
        self._watching: Readable | None = None
        self._started = 0.0
        self._again: asyncio.TimerHandle | None = None

    def inlet(self, version: int, protocol: str) -> int:
        """The port to which packet rules direct packets for ports that are served by `serve`."""
        port, fresh = self._inlets.port(version, protocol)
        if self._control is not None and fresh:
            self._send_sockets(0, False, fresh)
        return port

    def serve(
        self,
        owner: str,
        sockets: Sequence[tuple[socket.socket, PortBinding]],
        target: Target,
        ports: Sequence[Port] = (),
    ) -> None:
        """Relay from the listening `sockets`, and the `ports` that come through an inlet, to the owner's addresses until
        `stop`: IPv6 to IPv6 if the container has it, except for connections that it accepts only by IPv4. Raises
        OperationFailed."""
        if not sockets and not ports:
            return
        self.stop(owner)
        self._groups += 1
        self._served[owner] = served = _Served(self._groups, list(sockets), list(ports), target)
        if self._control is not None:
            self._send(served)
        elif self._again is None:
            self._start()

    def stop(self, owner: str) -> None:
        """End the owner's connections; its sockets may be closed right after."""
        served = self._served.pop(owner, None)
        if served is None or self._control is None:
            return
        if not self._served:
            self._end()
            return
        try:
            self._control.send(_HEAD.pack(_REMOVE, served.group, 0, served.target.keep))
            while self._control.recv(4) not in (struct.pack("=I", served.group), b""):
                pass
        except OSError:
            self._end(signal.SIGKILL)
            self._start()

    def close(self) -> None:
        self._served.clear()
        if self._again is not None:
            self._again.cancel()
        self._end()
        self._inlets.close()

    def _start(self) -> None:
        self._again = None
        program = _program(self._folder)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                # Python ignores SIGPIPE, and so does the program that inherits it.
                actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
                path = f"/proc/self/fd/{program}"
                self._pid = os.posix_spawn(path, ["composer-relay"], {}, file_actions=actions, setsigmask=())
            except OSError:
                ours.close()
                raise
            finally:
                os.close(program)
        self._started = time.monotonic()
        ours.settimeout(_PATIENCE)
        self._control = ours
        self._watching = Readable(ours, self._died)
        self._send_sockets(0, any(served.target.keep for served in self._served.values()), self._inlets.sockets)
        for served in self._served.values():
            self._send(served)

    def _end(self, how: signal.Signals | None = None) -> None:
        if self._watching is not None:
            self._watching.close()
            self._watching = self._control = None
        if pid := self._pid:
            self._pid = 0
            with contextlib.suppress(OSError):
                if how is not None:
                    os.kill(pid, how)
                os.waitpid(pid, 0)

    def _died(self) -> None:
        """Start it again."""
        if self._control is None or self._control.recv(4, socket.MSG_DONTWAIT):
            return
        self._end(signal.SIGKILL)
        print("the relay of published ports exited; restarting it", file=sys.stderr, flush=True)
        wait = max(0.0, self._started + _PAUSE - time.monotonic())
        self._again = asyncio.get_running_loop().call_later(wait, self._start)

    def _send(self, served: _Served) -> None:
        self._send_sockets(served.group, served.target.keep, list(_listening(served)))
        for start in range(0, len(served.ports), _MOST_ENTRIES):
            some = served.ports[start : start + _MOST_ENTRIES]
            head = _HEAD.pack(_PUBLISH, served.group, len(some), served.target.keep)
            self._send_message(head + b"".join(_entry(port, served.target) for port in some))

    def _send_sockets(self, group: int, keep: bool, listening: Sequence[tuple[int, bytes]]) -> None:
        """Send descriptors, each with its struct listening."""
        for start in range(0, len(listening), flags.SCM_MAX_FD):
            some = listening[start : start + flags.SCM_MAX_FD]
            message = _HEAD.pack(_ADD, group, len(some), keep) + b"".join(text for _, text in some)
            rights = array.array("i", [fd for fd, _ in some])
            self._send_message(message, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    def _send_message(self, message: bytes, rights: Sequence[tuple[int, int, array.array[int]]] = ()) -> None:
        assert self._control is not None
        with contextlib.suppress(OSError):  # it has died, and we restart it
            self._control.sendmsg([message], rights)


def _program(folder: str) -> int:
    """A descriptor of the program. Raises OperationFailed."""
    from engine.net.relay.relay_program import PROGRAMS  # late: most projects publish nothing on loopback addresses

    try:
        return sealed("composer-relay", PROGRAMS)
    except OperationFailed as failure:
        if failure.errno != errno.EACCES:
            raise
    try:
        writing = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o700)
        try:
            os.write(writing, bytes.fromhex(PROGRAMS[os.uname().machine]))
            return os.open(f"/proc/self/fd/{writing}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writing)  # a file that is open for writing is not executed
    except OSError as error:
        raise OperationFailed.of("write the program composer-relay in", folder, error) from error


def _listening(served: _Served) -> Iterator[tuple[int, bytes]]:
    """For each socket its descriptor, and struct listening."""
    for sock, port in served.sockets:
        if found := _route(served.target, 6 if sock.family == socket.AF_INET6 else 4, port.container_port):
            yield sock.fileno(), _LISTENING.pack(sock.type, sock.proto) + found


def _entry(port: Port, target: Target) -> bytes:
    """struct published"""
    family = FAMILIES[port.version]
    address = _packed(port.host_ip) if port.host_ip else b""
    head = _PUBLISHED.pack(family, IP_PROTOCOLS[port.protocol], socket.htons(port.host_port), address)
    return head + _route(target, port.version, port.container_port)


def _route(target: Target, version: int, port: int) -> bytes:
    """struct route; empty if the container has no address."""
    addresses = [(target.v4, target.bits4), (target.v6, target.bits6)]
    found = [(_address(address, port), bits) for address, bits in addresses[:: -1 if version == 6 else 1] if address]
    if not found:
        return b""
    (one, bits), (other, more) = (*found, (b"", 0))[:2]
    return _ROUTE.pack(len(found), target.keep, bits, more, one, other)


def _address(address: str, port: int) -> bytes:
    """sockaddr_in or sockaddr_in6 (ip(7), ipv6(7))."""
    if ":" in address:
        return struct.pack("=H2sI16sI", socket.AF_INET6, port.to_bytes(2, "big"), 0, _packed(address), 0)
    return struct.pack("=H2s4s8x", socket.AF_INET, port.to_bytes(2, "big"), _packed(address))


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
