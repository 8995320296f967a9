"""Connects to a log target. Starting a container tries this first, as in Docker."""

from __future__ import annotations

import errno
import socket

from engine.tls import client_context

TYPE_CHECKING = False  # of typing, which a shipper need not load for this
if TYPE_CHECKING:
    from engine.log.settings import Address, Ship, ShipOptions

CONNECT_TIMEOUT = 10.0
JOURNAL = "/run/systemd/journal/socket"
SYSLOG = ("/dev/log", "/var/run/syslog", "/var/run/log")


def connect(ship: Ship) -> socket.socket:
    """A connected, blocking socket with the driver's timeouts. Raises OSError with a readable message."""
    driver, options = ship["driver"], ship["options"]
    if driver == "journald":
        try:
            return _unix(JOURNAL, socket.SOCK_DGRAM)
        except OSError as error:
            raise OSError(error.errno, "journald is not enabled on this host") from error
    address = options.get("address")
    if driver == "syslog" and address is None:
        for path in SYSLOG:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                try:
                    return _unix(path, kind)
                except OSError:
                    continue
        raise OSError(errno.ENOENT, f"no local syslog listens at {', '.join(SYSLOG)}")
    if address is None:
        address = {"scheme": "tcp", "host": "127.0.0.1", "port": 24224}
    try:
        sock = _connect(address, options)
    except OSError as error:
        raise OSError(error.errno, f"connect to {name(address)}: {error.strerror or error}") from error
    sock.settimeout(options.get("write-timeout") or 30.0)
    return sock


def name(address: Address) -> str:
    if "path" in address:
        return f"{address['scheme']}://{address['path']}"
    return f"{address['scheme']}://{address['host']}:{address['port']}"


def _connect(address: Address, options: ShipOptions) -> socket.socket:
    scheme = address["scheme"]
    if scheme == "unix":
        try:
            return _unix(address["path"], socket.SOCK_STREAM)
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
            return _unix(address["path"], socket.SOCK_DGRAM)  # /dev/log is a datagram socket
    if scheme == "unixgram":
        return _unix(address["path"], socket.SOCK_DGRAM)
    if scheme == "udp":
        family, kind, protocol, _, where = socket.getaddrinfo(address["host"], address["port"], type=socket.SOCK_DGRAM)[
            0
        ]
        sock = socket.socket(family, kind, protocol)
        sock.connect(where)
        return sock
    sock = socket.create_connection((address["host"], address["port"]), CONNECT_TIMEOUT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if scheme in ("tcp+tls", "tls"):
        return _tls(sock, address["host"], options)
    return sock


def _tls(sock: socket.socket, host: str, options: ShipOptions) -> socket.socket:
    import ssl

    reading = authority = options.get("tls-ca-cert") or ""
    try:
        context = client_context(authority)
        if options.get("tls-skip-verify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if reading := options.get("tls-cert") or "":
            context.load_cert_chain(reading, options.get("tls-key") or None)
        reading = ""
        return context.wrap_socket(sock, server_hostname=host)
    except OSError as error:
        sock.close()
        if reading:
            raise OSError(error.errno, f"{reading}: {error.strerror or error}") from error
        raise


def _unix(path: str, kind: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock
