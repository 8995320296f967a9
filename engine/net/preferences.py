"""Settings of an administrator or user for networks: networks.toml (docs/networking.md).

It is read from /etc/composer, then from $XDG_CONFIG_HOME/composer (~/.config), whose keys win. COMPOSER_NETWORKS names a file
that replaces both.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from engine.errors import InvalidSpec
from engine.net.rtnetlink import Rtnetlink
from engine.paths import settings_files
from engine.spec.networkoptions import MTUS

_LARGEST = 1 << 20


class AddressPool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`base` is divided into subnets with prefixes of the length `size`, as by dockerd's default-address-pools."""

    base: str
    size: int


class OverlayHost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A host of overlay networks. `public_key` is its WireGuard key in base64, which encrypted networks need."""

    name: str
    address: str
    public_key: str = ""


class Overlay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The default hosts of overlay networks, including this one. `private_key` is the file with this host's WireGuard
    key, `port` the UDP port of encrypted networks on all hosts."""

    hosts: tuple[OverlayHost, ...] = ()
    private_key: str = "/etc/composer/overlay.key"
    port: int = 51820


class Preferences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`publish`: host addresses of ports published without one; () means all addresses. `mtu`: bytes, 0 to follow the
    uplink. `pools`: the pools for IPv4 subnets; () means the default pools. `ports_opened_by`: whether published ports
    are open because we translate addresses before the host's firewall sees them, or are served like ports of the host's
    programs, so that its firewall decides."""

    publish: tuple[str, ...] = ()
    ports_opened_by: Literal["composer", "firewall"] = "composer"
    mtu: int = 0
    pools: tuple[AddressPool, ...] = ()
    overlay: Overlay = Overlay()


def read(environ: Mapping[str, str] = os.environ) -> Preferences:
    """Read the settings. Raises InvalidSpec for an invalid file."""
    found: dict[str, Any] = {}
    for path in _paths(environ):
        try:
            status = os.stat(path)
            found |= _parsed(path, (status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, msgspec.ValidationError) as error:
            raise InvalidSpec(f"{path}: {error}") from error
    return msgspec.convert(found, Preferences) if found else _NOTHING


@cache
def _parsed(path: str, state: tuple[int, int, int]) -> dict[str, Any]:
    """The checked content of a file; `state` changes with it. A network's creation reads the settings several times."""
    import tomllib

    with open(path, "rb") as file:
        data = tomllib.loads(file.read(_LARGEST).decode())
    _check(msgspec.convert(data, Preferences))
    return data


def mtu() -> int:
    """The default MTU of networks in bytes; 0 for the kernel's default. An uplink's MTU below 1500 is used, because
    larger packets would be lost where ICMP is filtered."""
    if wanted := read().mtu:
        return wanted
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/thread-self/net/route", encoding="ascii") as file:
            rows = [line.split() for line in list(file)[1:]]
        link = min((int(row[6]), row[0]) for row in rows if row[1] == row[7] == "00000000")[1]
        with Rtnetlink() as kernel:
            found = kernel.mtu(link)
        return found if found < 1500 else 0
    return 0


def _check(found: Preferences) -> None:
    """Raises ValueError."""
    for address in found.publish:
        ipaddress.ip_address(address)
    if found.mtu and found.mtu not in MTUS:
        raise ValueError(f"mtu: {found.mtu} is not a number of bytes from 68 to 65535, or 0 to follow the uplink")
    for pool in found.pools:
        base = ipaddress.ip_network(pool.base)
        if base.version != 4 or not base.prefixlen <= pool.size <= 30:
            raise ValueError(
                f"pools: {pool.base} cannot be divided into IPv4 subnets with prefixes of {pool.size} bits"
            )


def _paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    named = environ.get("COMPOSER_NETWORKS")
    return (named,) if named else settings_files("networks.toml", environ)


_NOTHING = Preferences()
