"""networks.* (compose-spec, 06-networks.md)"""

from __future__ import annotations

from composer.model.element import Element, Pairs


class Pool(Element):
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    aux_addresses: Pairs = {}


class Ipam(Element):
    driver: str = ""
    config: tuple[Pool, ...] | None = None
    options: Pairs = {}


class Network(Element):
    """`name` is the one in the engine."""

    name: str = ""
    driver: str = ""
    driver_opts: Pairs = {}
    ipam: Ipam | None = None
    external: bool = False
    internal: bool = False
    attachable: bool = False
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    labels: Pairs = {}
