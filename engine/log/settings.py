"""What the keeper and the shipper must know of a container's log: types only, loaded by type checkers alone."""

from typing import Any, TypedDict


class Ship(TypedDict):
    """Where the shipper sends the lines, and as what; `options` have their names without the driver's."""

    driver: str
    options: dict[str, Any]
    id: str
    name: str
    image: str
    tag: str
    attrs: dict[str, str]


class LogSettings(TypedDict, total=False):
    """`format` "" has nothing else."""

    format: str
    """json, local, "" where nothing is kept."""
    folder: str
    max_size: int
    """Bytes of one file."""
    max_files: int
    compress: bool
    attrs: dict[str, str]
    ship: Ship | None
