"""networks.* (compose-spec, 06-networks.md)"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

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
    """`name` is the name in the engine. `host_access` is our extension `x-host-access`."""

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
    host_access: bool = False

    @model_validator(mode="before")
    @classmethod
    def _extensions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "host_access" in value:
            raise ValueError("unknown key host_access: use x-host-access")
        return {"host_access" if key == "x-host-access" else key: inner for key, inner in value.items()}
