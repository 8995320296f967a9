"""Published ports on the host: choose a free port, record it, and hold it with a bound socket. Where packet rules serve the
ports, the sockets need no descriptors (parked.py)."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Collection, Iterable, Sequence

import msgspec

import engine.rootless.client as rootless
from engine.errors import InvalidSpec, OperationFailed, PortInUse, Unsupported
from engine.kernel import flags, open_files
from engine.net import options, preferences
from engine.net.parked import Parked
from engine.spec import networkoptions
from engine.spec.container import PortBinding
from engine.spec.network import NetworkRecord
from engine.store import Store
from engine.vocabulary import IP_PROTOCOLS

_KINDS = {
    "tcp": (socket.SOCK_STREAM, IP_PROTOCOLS["tcp"]),
    "udp": (socket.SOCK_DGRAM, IP_PROTOCOLS["udp"]),
    "sctp": (socket.SOCK_STREAM, IP_PROTOCOLS["sctp"]),
}
DIRECT = "direct"
"""The host port of containers that are reachable only at their own address."""
_EVERY = {4: "0.0.0.0", 6: "::"}
_ANY = (0,) * 16
"""Any free port; retried if the port chosen for IPv4 is in use for IPv6."""

_HINTS = {
    errno.EADDRNOTAVAIL: "The host has no such address.",
    errno.EMFILE: "A published port takes two descriptors: raise the limit (ulimit -n), or publish fewer ports.",
}
_LOW_PORTS = (
    "Publish a port from 1024 on, or ask root to lower the limit: sysctl -w net.ipv4.ip_unprivileged_port_start=80"
)


class Reservation:
    """The sockets that hold one container's ports. `sockets` also serve them (see relay/relay.py); with `by_rules`, packet
    rules serve all protocols that they can, and the sockets of these are parked."""

    def __init__(self, *, by_rules: bool = False) -> None:
        self.by_rules = by_rules
        self.bindings: list[PortBinding] = []
        self.sockets: list[tuple[socket.socket, PortBinding]] = []
        self._parked = Parked()
        self._parking: list[socket.socket] = []
        self._refused: list[socket.socket] = []
        """Sockets that could not be parked."""

    def add(self, binding: PortBinding, sockets: Sequence[socket.socket]) -> None:
        self.bindings.append(binding)
        if not self.parks(binding):
            self.sockets += [(sock, binding) for sock in sockets]
            return
        self._parking += sockets
        if len(self._parking) >= flags.SCM_MAX_FD - 1:
            self._park()

    def parks(self, port: PortBinding) -> bool:
        return self.by_rules and port.protocol != "sctp"

    def seal(self) -> None:
        """All ports are there."""
        self._park()
        self._parked.seal()

    def _park(self) -> None:
        if self._parking and not self._parked.add(self._parking):
            self._refused += self._parking
        self._parking = []

    def close(self) -> None:
        for sock in (*self._parking, *self._refused, *(sock for sock, _ in self.sockets)):
            sock.close()
        self._parked.close()
        self._parking, self._refused, self.sockets = [], [], []


def placed(wanted: Collection[PortBinding], record: NetworkRecord | None) -> list[PortBinding]:
    """The ports with default host addresses from the network's driver options or networks.toml. In gateway mode
    `routed` nothing is bound on the host, and the host port becomes ""."""
    found = []
    requested = preferences.read().publish if wanted else ()
    for port in wanted:
        opts = record.spec.driver_opts if record else {}
        places = [opts[option] for option in networkoptions.HOST_BINDING.values() if option in opts]
        places = places or list(requested)
        routed = {v for v in (4, 6) if record and options.gateway_mode(record, v) == "routed"}
        wanted_at = places if places and not port.host_ip else [port.host_ip]
        if routed and wanted_at == [""]:
            wanted_at = ["0.0.0.0", "::"]
        for place in wanted_at:
            version = 6 if ":" in place else 4
            if version in routed:  # as in Docker, no address of the host is left
                found.append(msgspec.structs.replace(port, host_ip=_EVERY[version], host_port=DIRECT))
            else:
                found.append(msgspec.structs.replace(port, host_ip=place))
    return found


def reserve(store: Store, container_id: str, wanted: Iterable[PortBinding], *, by_rules: bool = False) -> Reservation:
    """Bind all requested ports or none. Raises PortInUse with port and holder."""
    reservation = Reservation(by_rules=by_rules)
    try:
        for port in wanted:
            _reserve_one(store, container_id, port, reservation)
        reservation.seal()
        bindings = [one for one in reservation.bindings if one.host_port]
        bound = {(one.host_ip or "0.0.0.0", int(one.host_port), one.protocol) for one in bindings}
        if bound:
            with store.transaction() as db:
                rows = [(*port, container_id) for port in sorted(bound)]
                db.executemany("INSERT OR REPLACE INTO ports VALUES (?, ?, ?, ?)", rows)
    except BaseException:
        reservation.close()
        release(store, container_id)
        raise
    return reservation


def release(store: Store, container_id: str) -> None:
    with store.transaction(freeing=True) as db:
        db.execute("DELETE FROM ports WHERE owner = ?", (container_id,))


def _reserve_one(store: Store, container_id: str, port: PortBinding, reservation: Reservation) -> None:
    if port.protocol not in _KINDS:
        raise InvalidSpec(
            f"protocol {port.protocol!r} of port {port.container_port} cannot be published",
            hint="Use tcp, udp or sctp.",
        )
    if port.host_port == DIRECT:
        reservation.bindings.append(msgspec.structs.replace(port, host_port=""))
        return
    candidates = _candidates(port)
    refused: OSError | None = None
    for number in candidates:
        try:
            sockets = _bind(port, number, both=reservation.parks(port))
        except OSError as error:
            if error.errno == errno.EPROTONOSUPPORT:
                raise Unsupported(f"this kernel has no {port.protocol.upper()}") from error
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                hint = _HINTS.get(error.errno or 0, "")
                raise OperationFailed.of("bind the published port", _where(port, number), error, hint=hint) from error
            refused = error
            continue
        chosen = number or sockets[0].getsockname()[1]
        binding = PortBinding(
            container_port=port.container_port, protocol=port.protocol, host_ip=port.host_ip, host_port=str(chosen)
        )
        reservation.add(binding, sockets)
        return
    raise _in_use(store, container_id, port, refused, reservation.bindings)


def _candidates(port: PortBinding) -> Iterable[int]:
    if port.host_port in ("", "0"):
        return _ANY
    first, _, last = port.host_port.partition("-")
    try:
        found = range(int(first), int(last or first) + 1)
        if found and 0 < found[0] <= found[-1] < 65536:
            return found
    except ValueError:
        pass
    raise InvalidSpec(f"{port.host_port!r} is not a valid port or port range")


def _where(port: PortBinding, number: int | str) -> str:
    address = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip or "0.0.0.0"
    return f"{address}:{number}/{port.protocol}"


def _bind(port: PortBinding, number: int, *, both: bool) -> list[socket.socket]:
    """Sockets of IPv4 and IPv6 for "", or with `both` one that takes the port for both; one socket for an address."""
    addresses = [port.host_ip] if port.host_ip else ["::", "0.0.0.0"] if both else ["0.0.0.0", "::"]
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            v6 = ":" in address
            if not number and sockets:
                number = sockets[0].getsockname()[1]
            try:
                family, shared = (socket.AF_INET6 if v6 else socket.AF_INET), both and not port.host_ip
                sock = _bound(family, *_KINDS[port.protocol], address, number, shared=shared)
            except OSError as error:
                if v6 and not port.host_ip and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue  # a kernel without IPv6
                raise
            sockets.append(sock)
            if port.protocol != "udp":
                sock.listen(128)
            sock.setblocking(False)
            if shared:
                break
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bound(family: int, kind: int, protocol: int, address: str, number: int, *, shared: bool = False) -> socket.socket:
    """A bound socket in the host's network, which for an ordinary user is not our namespace. `shared`: for IPv4 and IPv6."""
    try:
        return _bound_now(family, kind, protocol, address, number, shared)
    except OSError as error:
        if error.errno != errno.EMFILE or not open_files.raise_limit():
            raise
    return _bound_now(family, kind, protocol, address, number, shared)


def _bound_now(family: int, kind: int, protocol: int, address: str, number: int, shared: bool) -> socket.socket:
    if rootless.here():
        return rootless.bind(family, kind, protocol, address, number)
    sock = socket.socket(family, kind, protocol)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not shared)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, number))
    except OSError:
        sock.close()
        raise
    return sock


def _in_use(
    store: Store, container_id: str, port: PortBinding, refused: OSError | None, own: Sequence[PortBinding]
) -> PortInUse:
    """`own`: the ports that the same container already has."""
    where = _where(port, port.host_port or "any free port")
    if refused and refused.errno == errno.EACCES:
        return PortInUse(f"port {where} cannot be bound: permission denied", hint=_LOW_PORTS)
    same = (str(port.host_port), port.protocol)
    mine = next((one for one in own if (one.host_port, one.protocol) == same), None)
    if mine is not None:
        return PortInUse(
            f"port {where} is already published by the same container, for its port {mine.container_port}",
            hint="Publish each port of the host once (services.*.ports).",
        )
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
