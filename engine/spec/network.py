"""Specifications and records of networks and volumes."""

from msgspec import Struct
from msgspec.json import Decoder

LAN_DRIVERS = ("macvlan", "ipvlan")
"""Drivers of networks on which containers have separate links on the LAN of a host's link."""


OVERLAY = "overlay"
"""The driver of networks that several hosts share."""

BUILD_NETWORK = "composer-build"
"""The network of builds. It exists while a build needs it."""


class Pool(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One ipam.config entry; "" is chosen by the engine."""

    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    aux_addresses: dict[str, str] = {}


class NetworkSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network. Drivers: bridge, overlay, macvlan, ipvlan; host and none are predefined; others are refused as
    unsupported. `host_access`: the host can reach the containers of a macvlan network."""

    name: str
    driver: str = "bridge"
    driver_opts: dict[str, str] = {}
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    host_access: bool = False
    ipam_driver: str = ""
    ipam_options: dict[str, str] | None = None
    pools: tuple[Pool, ...] = ()
    labels: dict[str, str] = {}


class NetworkRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network that exists: `id` is 64 hex digits, `bridge` its Linux link (of a macvlan or ipvlan network: the link of
    its own, where it needs one), `pools` with all fields filled.

    `mtu`: bytes, 0 for the kernel's choice. `adopted`: the link existed before the network and is kept when the network
    is removed. `underlay`: this host's address among those of an overlay network; `peers`: the other hosts' addresses.
    """

    id: str
    spec: NetworkSpec
    bridge: str = ""
    pools: tuple[Pool, ...] = ()
    mtu: int = 0
    adopted: bool = False
    underlay: str = ""
    peers: tuple[str, ...] = ()
    created_at: float = 0.0


class VolumeSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A volume of the local driver; driver_opts type, o, device as for mount(8)."""

    name: str
    driver: str = "local"
    driver_opts: dict[str, str] = {}
    labels: dict[str, str] = {}
    anonymous: bool = False


class VolumeRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    spec: VolumeSpec
    mountpoint: str
    created_at: float = 0.0


decode_network = Decoder(NetworkRecord).decode
decode_volume = Decoder(VolumeRecord).decode
