"""The driver option for the MTU of a network, for all drivers."""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import InvalidSpec

OPTIONS = ("com.docker.network.driver.mtu", "mtu")


SIZES = range(68, 65536)
"""Valid sizes in bytes: IPv4 needs 68 (RFC 791), and the kernel's limit is 65535."""
MEANING = "a number of bytes from 68 to 65535, or 0 for the default"


def is_valid(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 10 and (int(value) == 0 or int(value) in SIZES)


def check(where: str, option: str, value: str) -> None:
    """Raises InvalidSpec for a value that is not an MTU; `where` names the network."""
    if not is_valid(value):
        raise InvalidSpec(f"{where}: driver option {option}: {value!r} is not {MEANING}")


def asked(driver_opts: Mapping[str, str]) -> int | None:
    """The MTU in bytes, 0 for the kernel's default; None if no option is set."""
    return next((int(driver_opts[option]) for option in OPTIONS if option in driver_opts), None)
