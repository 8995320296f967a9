"""The host forwards packets because of us: what we switched on for that, and back off with the last network.

A host that did not forward before must not begin to route for others: then our table drops what has nothing to do with us
(layout.closed). That we switched it on is noted in the run root, which a reboot clears as it clears the setting.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable

from engine.errors import PRIVILEGED, OperationFailed
from engine.paths import Roots

SETTINGS = {4: "/proc/sys/net/ipv4/ip_forward", 6: "/proc/sys/net/ipv6/conf/all/forwarding"}
_ACCEPT_RA = "/proc/sys/net/ipv6/conf/{}/accept_ra"


def is_on(version: int) -> bool:
    try:
        with open(SETTINGS[version], encoding="ascii") as file:
            return file.read().strip() != "0"
    except OSError:
        return True  # a kernel without this version has nothing to switch on


def enable(roots: Roots, versions: Iterable[int]) -> bool:
    """Switch on what is off; whether anything was. Raises OperationFailed."""
    changed = False
    for version in versions:
        if not is_on(version):
            _note(roots, version, _keep_router(roots) if version == 6 else [])
            put(SETTINGS[version], "1")
            changed = True
    return changed


def is_ours(roots: Roots) -> bool:
    """Whether the host forwards because of us only."""
    return any(os.path.exists(_file(roots, version)) for version in SETTINGS)


def restore(roots: Roots) -> None:
    """Switch off what we switched on."""
    for version, setting in SETTINGS.items():
        try:
            with open(_file(roots, version), encoding="utf-8") as file:
                links = file.read().split()
        except FileNotFoundError:
            continue
        with contextlib.suppress(OSError):
            put(setting, "0")
        for link in links:
            with contextlib.suppress(OSError, OperationFailed):
                put(_ACCEPT_RA.format(link), "1")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_file(roots, version))


def _keep_router(roots: Roots) -> list[str]:
    """A host that forwards listens to no router on links where accept_ra is 1; where it does so now it shall go on (2).
    Gives the links."""
    found = []
    for link in os.listdir("/proc/sys/net/ipv6/conf"):
        with contextlib.suppress(OSError):
            if link in ("all", "default") or _read(_ACCEPT_RA.format(link)) != "1":
                continue
            if os.path.exists(f"/sys/class/net/{link}/bridge") or link == "lo":
                continue
            put(_ACCEPT_RA.format(link), "2")
            found.append(link)
    return found


def _file(roots: Roots, version: int) -> str:
    return f"{roots.run}/forwarding{version}"


def _note(roots: Roots, version: int, links: Iterable[str]) -> None:
    try:
        os.makedirs(roots.run, mode=0o700, exist_ok=True)
        with open(_file(roots, version), "w", encoding="utf-8") as file:
            file.write(" ".join(links))
    except OSError as error:
        raise OperationFailed.of("write", _file(roots, version), error) from error


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def put(path: str, value: str) -> None:
    """Write a setting of the kernel's unless it has the value; one that it does not have is left out."""
    try:
        with open(path, "r+", encoding="ascii") as file:
            if file.read().strip() != value:
                file.seek(0)
                file.write(value)
    except FileNotFoundError:
        return  # a kernel without IPv6
    except OSError as error:
        hint = PRIVILEGED if error.errno == errno.EROFS else f"Ask root to write {value} to it."
        raise OperationFailed.of("set", path, error, hint=hint) from error
