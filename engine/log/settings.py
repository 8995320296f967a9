"""Settings of a container's log for the keeper and the shipper: types only, loaded only by type checkers."""

from typing import Literal, TypedDict


class Address(TypedDict, total=False):
    """The address of a target: `path` of a socket file, or `host` and `port`."""

    scheme: str
    path: str
    host: str
    port: int


ShipOptions = TypedDict(
    "ShipOptions",
    {
        "address": Address,
        "mode": str,
        "facility": int,
        "format": str,
        "tls-ca-cert": str,
        "tls-cert": str,
        "tls-key": str,
        "tls-skip-verify": bool,
        "buffer-limit": int,
        "retry-wait": float,
        "max-retries": int,
        "async": bool,
        "async-reconnect-interval": float,
        "sub-second-precision": bool,
        "request-ack": bool,
        "write-timeout": float,
        "read-timeout": float,
    },
    total=False,
)
"""Options of a remote driver (engine.spec.logoptions) by their names without the driver's; times in seconds."""


class Ship(TypedDict):
    """The target and format for the shipper."""

    driver: str
    options: ShipOptions
    id: str
    name: str
    image: str
    tag: str
    attrs: dict[str, str]


class LogSettings(TypedDict, total=False):
    """`format` "" has nothing else."""

    format: str
    """json, local, or "" to keep nothing."""
    folder: str
    max_size: int
    """Bytes of one file."""
    max_files: int
    compress: bool
    attrs: dict[str, str]
    ship: Ship | None


class ShipOrder(TypedDict):
    """A container with a remote driver; the message carries a descriptor of the current file."""

    do: Literal["ship"]
    folder: str
    number: int
    ship: Ship


class EndOrder(TypedDict):
    """A container has exited: send the rest."""

    do: Literal["end"]
    folder: str


class CompressOrder(TypedDict):
    """A rotated file."""

    do: Literal["compress"]
    path: str


class LeaveOrder(TypedDict):
    """Send what can be sent soon, then exit."""

    do: Literal["leave"]


Order = ShipOrder | EndOrder | CompressOrder | LeaveOrder
"""The messages from a keeper to its shipper."""
