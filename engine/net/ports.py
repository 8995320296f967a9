"""Published ports on the host's side: a free one chosen, written down, and held by a bound socket of ours."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterable

from engine.errors import InvalidSpec, OperationFailed, PortInUse
from engine.spec.container import PortBinding
from engine.store import Store

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Reservation:
    """The sockets that hold one container's ports; they also serve what packet rules cannot (see proxy.py)."""

    def __init__(self) -> None:
        self.bindings: list[PortBinding] = []
        self.sockets: list[tuple[socket.socket, PortBinding]] = []

    def close(self) -> None:
        for sock, _ in self.sockets:
            sock.close()
        self.sockets.clear()


def reserve(store: Store, container_id: str, wanted: Iterable[PortBinding]) -> Reservation:
    """Bind every port asked for, or none. Raises PortInUse naming port and holder."""
    reservation = Reservation()
    try:
        for port in wanted:
            _reserve_one(store, container_id, port, reservation)
    except BaseException:
        reservation.close()
        release(store, container_id)
        raise
    return reservation


def release(store: Store, container_id: str) -> None:
    with store.transaction() as db:
        db.execute("DELETE FROM ports WHERE owner = ?", (container_id,))


def _reserve_one(store: Store, container_id: str, port: PortBinding, reservation: Reservation) -> None:
    if port.protocol not in _KINDS:
        raise InvalidSpec(f"protocol {port.protocol!r} of port {port.container_port} cannot be published", hint="Use tcp or udp.")
    candidates = _candidates(port)
    refused: OSError | None = None
    for number in candidates:
        try:
            sockets = _bind(port, number)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                where = f"{port.host_ip or '0.0.0.0'}:{number}/{port.protocol}"
                raise OperationFailed.of("bind the published port", where, error) from error
            refused = error
            continue
        chosen = number or sockets[0].getsockname()[1]
        binding = PortBinding(
            container_port=port.container_port, protocol=port.protocol, host_ip=port.host_ip, host_port=str(chosen)
        )
        reservation.sockets += [(sock, binding) for sock in sockets]
        reservation.bindings.append(binding)
        with store.transaction() as db:
            row = (port.host_ip or "0.0.0.0", chosen, port.protocol, container_id)
            db.execute("INSERT OR REPLACE INTO ports VALUES (?, ?, ?, ?)", row)
        return
    raise _in_use(store, container_id, port, refused)


def _candidates(port: PortBinding) -> Iterable[int]:
    if not port.host_port:
        return (0,)
    first, _, last = port.host_port.partition("-")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise InvalidSpec(f"{port.host_port!r} is no port or range of ports") from error


def _bind(port: PortBinding, number: int) -> list[socket.socket]:
    """IPv4 and IPv6 wildcard sockets for "", one socket for an address."""
    addresses = [port.host_ip] if port.host_ip else ["0.0.0.0", "::"]
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            v6 = ":" in address
            try:
                sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, _KINDS[port.protocol])
            except OSError:
                if v6 and not port.host_ip:
                    continue  # a kernel without IPv6
                raise
            sockets.append(sock)
            if v6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port.protocol == "tcp":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not number and len(sockets) > 1:
                number = sockets[0].getsockname()[1]
            try:
                sock.bind((address, number))
            except OSError as error:
                if v6 and not port.host_ip and error.errno == errno.EADDRNOTAVAIL:
                    sockets.pop().close()
                    continue
                raise
            if port.protocol == "tcp":
                sock.listen(128)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _in_use(store: Store, container_id: str, port: PortBinding, refused: OSError | None) -> PortInUse:
    where = f"{port.host_ip or '0.0.0.0'}:{port.host_port}/{port.protocol}"
    if refused and refused.errno == errno.EACCES:
        return PortInUse(f"port {where} may not be bound: permission denied", hint="Ports below 1024 need root.")
    holder = ""
    with contextlib.suppress(Exception):
        row = store.db.execute(
            "SELECT containers.name FROM ports JOIN containers ON containers.id = ports.owner "
            "WHERE host_port = ? AND protocol = ? AND owner != ?",
            (port.host_port, port.protocol, container_id),
        ).fetchone()
        holder = f" by container {row[0]}" if row else _process_holding(int(port.host_port), port.protocol)
    return PortInUse(
        f"port {where} is already in use{holder}", hint="Stop what uses it, or publish another port (services.*.ports)."
    )


def _process_holding(number: int, protocol: str) -> str:
    """ " by process 123 (nginx)", found by the socket's inode (proc_net(5), proc_pid_fd(5))."""
    import os

    inodes = set()
    for name in (protocol, f"{protocol}6"):
        with contextlib.suppress(OSError), open(f"/proc/net/{name}", encoding="utf-8") as file:
            for line in list(file)[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == number and fields[3] in ("0A", "07"):
                    inodes.add(f"socket:[{fields[9]}]")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                        return f" by process {pid} ({file.read().strip()})"
    return ""
