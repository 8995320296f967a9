"""The driver options of overlay networks, and the hosts in networks.toml (docs/networking.md). All hosts compute the
same values from the same specification, without communication: the VXLAN network identifier and the subnet from the
network's name, and their slice of the subnet from their position in the list of hosts.
"""

from __future__ import annotations

import base64
import fcntl
import ipaddress
import socket
import struct
from contextlib import suppress

from engine import digest
from engine.errors import InvalidSpec, Unsupported
from engine.net import preferences
from engine.net.rtnetlink import Rtnetlink
from engine.spec import networkoptions
from engine.spec.network import OVERLAY, NetworkRecord, NetworkSpec, Pool

PEERS = "peers"
"""All hosts, including this one, separated by commas: NAME=ADDRESS or ADDRESS."""
VNI = "com.docker.network.driver.overlay.vxlanid_list"
ENCRYPTED = "encrypted"
"""Docker's; "" is true."""
PORT = 4789
"""The UDP port that IANA assigned to VXLAN."""
OVERHEAD = 50
"""Bytes of the outer Ethernet, IPv4, UDP and VXLAN headers."""

WIREGUARD = "cmw-overlay"
"""The link used by all encrypted networks of the host."""
_SIOCGIFADDR = 0x8915
_INNER = ipaddress.IPv6Address("fd63:6d70:6f76:6c79::").packed[:8]
"""The subnet of the WireGuard links (RFC 4193)."""
_SLICES = 16
"""The minimum number of slices of a subnet, so that hosts added later do not move existing ones."""
_SMALLEST = 8
"""The minimum number of addresses of a slice."""
_RANGE = ipaddress.IPv4Network("10.128.0.0/9")
_PREFIX = 20
_IDENTIFIERS = range(256, 1 << 24)
"""Starts at 256, as in Docker."""


def is_overlay(record: NetworkRecord) -> bool:
    return record.spec.driver == OVERLAY


def check(spec: NetworkSpec) -> None:
    """Raises Unsupported and InvalidSpec."""
    where = f"network {spec.name}"
    for option, value in sorted(spec.driver_opts.items()):
        if option not in (PEERS, VNI, ENCRYPTED, *networkoptions.MTU):
            raise Unsupported(
                f"{where}: driver option {option!r} is not supported by the overlay driver",
                hint=f"Supported: {PEERS}, {ENCRYPTED}, {VNI}, {networkoptions.MTU[0]}.",
            )
        if option == ENCRYPTED and value.lower() not in ("", "true", "1", "false", "0"):
            raise InvalidSpec(f"{where}: driver option {option}: {value!r} is not true or false")
        if option == VNI and not (value.isdecimal() and int(value) in _IDENTIFIERS):
            raise InvalidSpec(f"{where}: driver option {VNI}: {value!r} is not one number from 256 to 16777215")
        if option in networkoptions.MTU and (why := networkoptions.mtu_fault(value)):
            raise InvalidSpec(f"{where}: driver option {option}: {why}")
    if spec.enable_ipv6 or not spec.enable_ipv4:
        raise Unsupported(f"{where}: the overlay driver supports IPv4 only")
    if any(pool.ip_range or pool.gateway for pool in spec.pools):
        raise InvalidSpec(
            f"{where}: ip_range and gateway cannot be set on an overlay network: each host has its own part of the subnet"
        )
    if len(spec.pools) > 1:
        raise InvalidSpec(f"{where}: an overlay network has one subnet, not {len(spec.pools)}")
    if is_encrypted(spec) and PEERS in spec.driver_opts:
        raise InvalidSpec(
            f"{where}: an encrypted network takes no driver_opts.{PEERS}",
            hint="Its hosts and their public keys are overlay.hosts in networks.toml.",
        )
    tunnel_addresses(spec)


def is_encrypted(spec: NetworkSpec) -> bool:
    return spec.driver_opts.get(ENCRYPTED, "false").lower() in ("", "true", "1")


def tunnel_addresses(spec: NetworkSpec) -> tuple[str, tuple[str, ...]]:
    """The tunnel's addresses, this host's and the others'; on encrypted networks those of the WireGuard links. Raises
    InvalidSpec."""
    own, index = place(spec)
    if not is_encrypted(spec):
        return own, tuple(host for host in hosts(spec) if host != own)
    found = [inner(host) for host in preferences.read().overlay.hosts]
    return found[index], tuple(found[:index] + found[index + 1 :])


def has_other_hosts(record: NetworkRecord) -> bool:
    """Whether the hosts in networks.toml have changed since the network was created. False if the settings are invalid
    now."""
    if not is_overlay(record) or PEERS in record.spec.driver_opts:
        return False
    try:
        now = tunnel_addresses(record.spec), pools(record.spec)[0].ip_range
    except InvalidSpec:
        return False
    return now != ((record.underlay, record.peers), record.pools[0].ip_range)


def inner(host: preferences.OverlayHost) -> str:
    """The host's address on the WireGuard links, derived from its public key. Raises InvalidSpec."""
    try:
        key = base64.b64decode(host.public_key, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InvalidSpec(
            f"networks.toml: overlay.hosts: {host.name}: {host.public_key!r} is not a WireGuard public key",
            hint="`composer network key` on that host prints it.",
        )
    return str(ipaddress.IPv6Address(_INNER + bytes.fromhex(digest.hexadecimal(key))[:8]))


def identifier(spec: NetworkSpec) -> int:
    """The VXLAN network identifier."""
    if requested := spec.driver_opts.get(VNI):
        return int(requested)
    return _IDENTIFIERS[_number(spec) % len(_IDENTIFIERS)]


def hosts(spec: NetworkSpec) -> list[str]:
    """IPv4 addresses of all hosts, in the order of their slices of the subnet. Raises InvalidSpec."""
    where = f"network {spec.name}: driver option {PEERS}"
    requested = spec.driver_opts.get(PEERS, "")
    found = [part.rpartition("=")[2].strip() for part in requested.split(",") if part.strip()]
    if not requested:
        where, found = "networks.toml: overlay.hosts", [one.address for one in preferences.read().overlay.hosts]
    for text in found:
        try:
            usable = ipaddress.ip_address(text).version == 4
        except ValueError:
            usable = False
        if not usable:
            raise InvalidSpec(f"{where}: {text!r} is not an IPv4 address")
    if len(set(found)) < len(found):
        raise InvalidSpec(f"{where}: duplicate address")
    if not found:
        raise InvalidSpec(
            f"network {spec.name}: the overlay driver needs the addresses of its hosts",
            hint=f"Set driver_opts.{PEERS}, for example a=192.0.2.1,b=192.0.2.2, or overlay.hosts in networks.toml.",
        )
    return found


def place(spec: NetworkSpec) -> tuple[str, int]:
    """This host's address and its index in `hosts`. Raises InvalidSpec if it is not among them."""
    found = hosts(spec)
    for index, address in enumerate(found):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                continue
        return address, index
    raise InvalidSpec(
        f"network {spec.name}: none of its hosts ({', '.join(found)}) is this one",
        hint="`ip address` lists this host's addresses.",
    )


def uplink_mtu(address: str) -> int:
    """The MTU in bytes of the host's link with this address; 0 if there is none."""
    own = socket.inet_aton(address)
    with Rtnetlink() as kernel, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, link in socket.if_nameindex():
            with suppress(OSError):  # the link has no address
                found = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("16s24x", link.encode()))
                if found[20:24] == own:
                    return kernel.mtu(link)
    return 0


def pools(spec: NetworkSpec) -> tuple[Pool, ...]:
    """The subnet of all hosts, with the range of this host. Raises InvalidSpec."""
    requested = spec.pools[0] if spec.pools else Pool()
    try:
        subnet = ipaddress.IPv4Network(requested.subnet or default_subnet(spec), strict=False)
    except ValueError as error:
        raise InvalidSpec(f"network {spec.name}: {requested.subnet!r} is not a valid IPv4 subnet: {error}") from error
    count = len(hosts(spec))
    bits = max(_SLICES, 1 << (count - 1).bit_length()).bit_length() - 1
    if subnet.num_addresses >> bits < _SMALLEST:
        least = 32 - bits - (_SMALLEST - 1).bit_length()
        raise InvalidSpec(
            f"network {spec.name}: the subnet {subnet} is too small for {count} hosts: use a /{least} or larger"
        )
    size = subnet.num_addresses >> bits
    first = int(subnet[0]) + place(spec)[1] * size
    own = ipaddress.IPv4Network((first, 32 - (size - 1).bit_length()))
    return (Pool(subnet=str(subnet), ip_range=str(own), aux_addresses=requested.aux_addresses),)


def default_subnet(spec: NetworkSpec) -> str:
    """The default subnet, derived from the network's name, and so the same on every host."""
    number = _number(spec) >> 32
    step = 1 << 32 - _PREFIX
    return f"{_RANGE[number % (_RANGE.num_addresses // step) * step]}/{_PREFIX}"


def gateways(record: NetworkRecord) -> set[str]:
    """The addresses of all hosts' bridges: the first usable one of each slice."""
    own = ipaddress.IPv4Network(record.pools[0].ip_range)
    subnet = ipaddress.IPv4Network(record.pools[0].subnet)
    firsts = range(int(subnet[0]), int(subnet[-1]), own.num_addresses)
    return {str(ipaddress.IPv4Address(first) + (first == int(subnet[0]))) for first in firsts}


def _number(spec: NetworkSpec) -> int:
    return int(digest.hexadecimal(spec.name.encode())[:16], 16)
