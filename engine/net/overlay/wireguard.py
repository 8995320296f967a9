"""WireGuard below encrypted overlay networks: each host has one link, with all other hosts in networks.toml as peers. A
host's address on it is derived from its public key, so that all hosts can compute it. The private key is in a file that
only root can read (wg(8), `wg genkey`)."""

from __future__ import annotations

import base64
import binascii
import errno
import os
import stat
from collections.abc import Collection

from engine.errors import InvalidSpec, NotFound, OperationFailed
from engine.net import messages, preferences, pyroute_requests
from engine.net.overlay import settings
from engine.net.rtnetlink import Rtnetlink
from engine.spec.network import NetworkRecord

LINK = settings.WIREGUARD
OVERHEAD = 80
"""The overhead in bytes, as in wg-quick(8): the outer IPv6 and UDP headers, and WireGuard's own."""


def ensure(record: NetworkRecord, mark: str) -> None:
    """Create the link, or update its hosts and keys. Do not call it in an event loop's thread. Raises InvalidSpec,
    NotFound, OperationFailed."""
    key, wanted = private_key(), preferences.read().overlay
    own, index = settings.place(record.spec)
    if public_key(key) != wanted.hosts[index].public_key:
        raise InvalidSpec(
            f"networks.toml: overlay.hosts: {wanted.hosts[index].name} ({own}) is this host, and has another public key",
            hint=f"{wanted.private_key} belongs to {public_key(key)}.",
        )
    with Rtnetlink() as kernel:
        (failed,) = kernel.run([pyroute_requests.link([("IFLA_IFNAME", LINK), pyroute_requests.kind("wireguard", [])])])
        if failed and failed != errno.EEXIST:
            hint = "This kernel has no WireGuard: modprobe wireguard." if failed == errno.EOPNOTSUPP else ""
            raise OperationFailed("make link", LINK, failed, hint=hint)
        number = kernel.index(LINK)
        if not failed:
            kernel.do("mark", LINK, [messages.alias(LINK, mark)])
        _configure(key, wanted, [host for host in wanted.hosts if host.address != own])
        size = settings.uplink_mtu(own)
        changes = [messages.link_up(number), messages.address(number, settings.inner(wanted.hosts[index]), 64)]
        if size:
            changes.insert(0, messages.mtu(number, size - OVERHEAD))
        kernel.do("set up link", LINK, changes)


def remove(mark: str, others: Collection[NetworkRecord]) -> None:
    """Remove the link with the last encrypted network of its state root; `mark` is the alias of the removed network,
    `others` are the remaining ones."""
    with Rtnetlink() as kernel:
        if not any(link.name == LINK and link.alias == mark for link in kernel.links()):
            return
        heir = next((one for one in others if settings.is_overlay(one) and settings.is_encrypted(one.spec)), None)
        if heir is None:
            kernel.do("remove link", LINK, [messages.delete_link(LINK)], accept=(errno.ENODEV,))
        else:
            passed_on = mark.rpartition(":")[0] + f":{heir.id[:12]}"
            kernel.do("mark", LINK, [messages.alias(LINK, passed_on)], accept=(errno.ENODEV,))


def private_key() -> bytes:
    """This host's private key, 32 bytes. Raises NotFound, and InvalidSpec for a file that others can read or that
    contains no key."""
    path = preferences.read().overlay.private_key
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise InvalidSpec(f"{path}: other users can read the private key", hint=f"chmod 600 {path}")
            key = base64.b64decode(file.read(100).strip(), validate=True)
    except FileNotFoundError:
        raise NotFound("private key", path, hint="`composer network key` creates it.") from None
    except OSError as error:
        raise OperationFailed.of("read", path, error) from error
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise InvalidSpec(f"{path}: not a WireGuard key")
    return key


def make_key() -> str:
    """Create this host's private key if missing. Returns the public key in base64. Raises as `private_key`."""
    path = preferences.read().overlay.private_key
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(base64.b64encode(os.urandom(32)) + b"\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise OperationFailed.of("write", path, error) from error
    return public_key(private_key())


def public_key(private: bytes) -> str:
    """The public key in base64 (RFC 7748)."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return base64.b64encode(X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()).decode()


def _configure(key: bytes, wanted: preferences.Overlay, others: Collection[preferences.OverlayHost]) -> None:
    from pyroute2 import NetlinkError, WireGuard

    peers = [
        {
            "public_key": host.public_key,
            "endpoint_addr": host.address,
            "endpoint_port": wanted.port,
            "allowed_ips": [f"{settings.inner(host)}/128"],
            "replace_allowed_ips": True,
        }
        for host in others
    ]
    try:
        with WireGuard() as kernel:
            kernel.set(LINK, listen_port=wanted.port, private_key=base64.b64encode(key).decode())
            for peer in peers:
                kernel.set(LINK, peer=peer)
    except NetlinkError as error:
        hint = f"Another program has UDP port {wanted.port}." if error.code == errno.EADDRINUSE else ""
        raise OperationFailed("configure", LINK, error.code, hint=hint) from error
    except OSError as error:
        raise OperationFailed.of("configure", LINK, error) from error
