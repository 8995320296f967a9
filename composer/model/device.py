"""services.*.devices, services.*.gpus, services.*.deploy.resources.reservations.devices, services.*.blkio_config"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from composer.model.element import Element, Pairs, Words
from composer.model.quantities import Bytes


class Device(Element):
    source: str
    target: str = ""
    permissions: str = ""


def _count(value: Any) -> Any:
    return -1 if value == "all" else value


class DeviceRequest(Element):
    """`count` -1 is all of them."""

    capabilities: Words = ()
    driver: str = ""
    count: Annotated[int, BeforeValidator(_count)] = 0
    device_ids: Words = ()
    options: Pairs = {}


class Weight(Element):
    """Docker Compose prints these keys capitalised."""

    path: str = Field(validation_alias=AliasChoices("path", "Path"))
    weight: int = Field(0, validation_alias=AliasChoices("weight", "Weight"))


class Rate(Element):
    """Bytes or operations a second."""

    path: str = Field(validation_alias=AliasChoices("path", "Path"))
    rate: Bytes = Field(0, validation_alias=AliasChoices("rate", "Rate"))


class BlockIO(Element):
    weight: int = 0
    weight_device: tuple[Weight, ...] = ()
    device_read_bps: tuple[Rate, ...] = ()
    device_read_iops: tuple[Rate, ...] = ()
    device_write_bps: tuple[Rate, ...] = ()
    device_write_iops: tuple[Rate, ...] = ()
