"""The driver option with which a network of any driver sets its MTU."""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import InvalidSpec

OPTIONS = ("com.docker.network.driver.mtu", "mtu")


def check(where: str, option: str, value: str) -> None:
    """InvalidSpec for a value that is no MTU; `where` says which network has it."""
    if not (value.isdecimal() and (68 <= int(value) <= 65535 or value == "0")):
        raise InvalidSpec(f"{where}: driver option {option}: {value!r} is not a number of bytes from 68 to 65535")


def asked(driver_opts: Mapping[str, str]) -> int | None:
    """Bytes, 0 for the kernel's choice; None where no option is set."""
    return next((int(driver_opts[option]) for option in OPTIONS if option in driver_opts), None)
