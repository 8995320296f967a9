"""IP forwarding: we switch it on for our networks, and off again with the last one.

A host that did not forward before must not start to route for others: then our table drops unrelated packets
(layout.closed). The settings belong to the network namespace, which state roots may share. So we record our changes
there, as alternative names of `lo`, which disappear with the namespace or at reboot:

composer.forward.<state root>     the state root has networks; the last one to leave switches forwarding off
composer.forwarding<4|6>          that IP version was switched on by us
composer.accept_ra.<index>        the link listened to routers before (accept_ra was 1)
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable

from engine import digest
from engine.errors import PRIVILEGED, OperationFailed
from engine.net import messages
from engine.net.netlink_abi import DELLINKPROP, NEWLINKPROP
from engine.net.rtnetlink import Rtnetlink
from engine.paths import Roots

SETTINGS = {4: "/proc/sys/net/ipv4/ip_forward", 6: "/proc/sys/net/ipv6/conf/all/forwarding"}
_ACCEPT_RA = "/proc/sys/net/ipv6/conf/{}/accept_ra"
_USER, _SWITCHED, _LISTENED = "composer.forward.", "composer.forwarding", "composer.accept_ra."
_LO = 1
"""LOOPBACK_IFINDEX"""


def is_on(version: int) -> bool:
    try:
        with open(SETTINGS[version], encoding="ascii") as file:
            return file.read().strip() != "0"
    except OSError:
        return True  # a kernel without this IP version has no such setting


def enable(roots: Roots, versions: Iterable[int]) -> None:
    """Switch forwarding on until `release`. Raises OperationFailed."""
    wanted = tuple(versions)
    if not wanted:
        return
    with Rtnetlink() as kernel:
        _add(kernel, _user(roots))
        for version in wanted:
            if not is_on(version):
                _switch_on(kernel, version)


def ours() -> tuple[int, ...]:
    """The IP versions for which only we switched forwarding on."""
    with Rtnetlink() as kernel:
        names = kernel.alternative_names(_LO)
    return tuple(version for version in SETTINGS if f"{_SWITCHED}{version}" in names)


def release(roots: Roots) -> None:
    """The state root has no networks left: switch forwarding off if we switched it on, unless another state root has
    networks."""
    with Rtnetlink() as kernel:
        names = kernel.alternative_names(_LO)
        if _user(roots) in names:
            _remove(kernel, _user(roots))
        if not _users(names) - {_user(roots)}:
            for version in SETTINGS:
                if f"{_SWITCHED}{version}" in names:
                    _switch_off(kernel, version, names)


def _switch_on(kernel: Rtnetlink, version: int) -> None:
    _add(kernel, f"{_SWITCHED}{version}")
    if version == 6:
        _keep_router(kernel)
    put(SETTINGS[version], "1")


def _switch_off(kernel: Rtnetlink, version: int, names: Iterable[str]) -> None:
    with contextlib.suppress(OSError, OperationFailed):
        put(SETTINGS[version], "0")
    for name in names:
        if version == 6 and name.startswith(_LISTENED):
            with contextlib.suppress(OSError, OperationFailed):
                put(_ACCEPT_RA.format(socket.if_indextoname(int(name.removeprefix(_LISTENED)))), "1")
            _remove(kernel, name)
    _remove(kernel, f"{_SWITCHED}{version}")
    if _users(kernel.alternative_names(_LO)):  # another state root has started meanwhile and found forwarding on
        _switch_on(kernel, version)


def _keep_router(kernel: Rtnetlink) -> None:
    """A forwarding host ignores router advertisements on links where accept_ra is 1. Set 2, so that links which use
    them now continue to."""
    for link in os.listdir("/proc/sys/net/ipv6/conf"):
        with contextlib.suppress(OSError):
            if link in ("all", "default", "lo") or _read(_ACCEPT_RA.format(link)) != "1":
                continue
            if any(os.path.exists(f"/sys/class/net/{link}/{kind}") for kind in ("bridge", "brport")):
                continue
            _add(kernel, f"{_LISTENED}{socket.if_nametoindex(link)}")
            put(_ACCEPT_RA.format(link), "2")


def _user(roots: Roots) -> str:
    return f"{_USER}{digest.tag(roots.state)}"


def _users(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith(_USER)}


def _add(kernel: Rtnetlink, name: str) -> None:
    made = messages.alternative_name(NEWLINKPROP, _LO, name)
    kernel.do("note", f"{name} at lo", [made], accept=(errno.EEXIST,))


def _remove(kernel: Rtnetlink, name: str) -> None:
    removed = messages.alternative_name(DELLINKPROP, _LO, name)
    kernel.do("remove", f"{name} from lo", [removed], accept=(errno.ENOENT, errno.EINVAL))


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def put(path: str, value: str) -> None:
    """Write a kernel setting unless it already has the value; ignored if the kernel lacks it."""
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
