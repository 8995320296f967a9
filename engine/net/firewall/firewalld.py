"""Support for firewalld, which rejects forwarded packets between links without a zone. We add our bridges to a zone of
ours that accepts everything; our own table decides what is permitted. We call firewalld on the system's message bus, and
only if its table exists (firewalld.dbus(5)). If it does not answer there, rules in its chains do the same until its next
reload, of which we are notified, unless it owns its table, so that only it can change it (NftablesTableOwner, the
default since firewalld 2.1)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

from engine.errors import OperationFailed
from engine.net.firewall import dbus
from engine.net.fixed_names import FIREWALLD

ZONE = "composer"
_POLICY = "composer-out"
_NAME, _OBJECT = "org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1"
_SOCKET = "/run/dbus/system_bus_socket"
_TIMEOUT = 20.0
"""Seconds for one answer. A reload of a large configuration takes several."""
_ZONE_SETTINGS = {"short": ("s", ZONE), "description": ("s", "Bridges of composer"), "target": ("s", "ACCEPT")}
_POLICY_SETTINGS = {
    "short": ("s", _POLICY),
    "ingress_zones": ("as", ["ANY"]),
    "egress_zones": ("as", [ZONE]),
    "target": ("s", "ACCEPT"),
}


def admit(bridges: Iterable[str], owner: int = 0) -> bool:
    """Add the bridges to our zone. `owner`: the process that owns firewalld's table, 0 if none does. Returns whether
    firewalld answers. Raises OperationFailed if it refuses."""
    with contextlib.suppress(OSError), _connected(owner) as firewalld:
        if firewalld is None:
            return False
        if not firewalld.is_made():
            firewalld.make()
        present = firewalld.call(".zone", "getInterfaces", "s", ZONE)
        for bridge in sorted(set(bridges) - set(present)):
            firewalld.call(".zone", "changeZoneOfInterface", "ss", ZONE, bridge)
        return True
    return False


def dismiss(bridges: Iterable[str], owner: int = 0) -> None:
    """Remove bridges from our zone."""
    with contextlib.suppress(OSError), _connected(owner) as firewalld:
        for bridge in bridges:
            if firewalld is None:
                return
            with contextlib.suppress(OperationFailed):
                firewalld.call(".zone", "removeInterface", "ss", ZONE, bridge)


class _Firewalld:
    def __init__(self, bus: dbus.Bus) -> None:
        self._bus = bus

    def call(self, interface: str, member: str, signature: str = "", *values: Any, accept: Iterable[str] = ()) -> Any:
        """Call a method, and return the first value of its answer; None after one of the errors in `accept`. Raises
        OperationFailed for other errors."""
        path = _OBJECT + ("/config" if interface == ".config" else "")
        try:
            found = self._bus.call(_NAME, path, _NAME + interface, member, signature, values)
        except dbus.CallFailed as error:
            if str(error).partition(":")[0] in accept:
                return None
            raise OperationFailed("call", f"firewalld: {member}", detail=str(error)) from error
        return found[0] if found else None

    def is_made(self) -> bool:
        """Whether zone and policy are active and complete; a killed process may have left parts."""
        if ZONE not in self.call(".zone", "getZones") or _POLICY not in self.call(".policy", "getPolicies"):
            return False
        found = self.call(".policy", "getPolicySettings", "s", _POLICY)
        return all(found.get(key) == value for key, value in _POLICY_SETTINGS.items() if key != "short")

    def make(self) -> None:
        known = ("NAME_CONFLICT", "ALREADY_ENABLED")
        self.call(".config", "addZone2", "sa{sv}", ZONE, _ZONE_SETTINGS, accept=known)
        if self.call(".config", "addPolicy", "sa{sv}", _POLICY, _POLICY_SETTINGS, accept=known) is None:
            path = self.call(".config", "getPolicyByName", "s", _POLICY)
            with contextlib.suppress(dbus.CallFailed):
                interface = f"{_NAME}.config.policy"
                self._bus.call(_NAME, path, interface, "update", "a{sv}", [_POLICY_SETTINGS])
        self.call("", "reload")


@contextlib.contextmanager
def _connected(owner: int) -> Iterator[_Firewalld | None]:
    """A connection to the bus on which firewalld is; None if there is none. If firewalld runs in a container or another
    root, its process leads to the bus there."""
    for path in (_SOCKET, *([f"/proc/{owner}/root{_SOCKET}"] if _is_firewalld(owner) else [])):
        if not os.path.exists(path):
            continue
        with dbus.Bus(path, _TIMEOUT) as bus:
            with contextlib.suppress(dbus.CallFailed):
                (there,) = bus.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus", "NameHasOwner", "s", [_NAME])
                if there:
                    yield _Firewalld(bus)
                    return
    yield None


def _is_firewalld(process: int) -> bool:
    with contextlib.suppress(OSError):
        with open(f"/proc/{process}/comm") as file:
            return process > 0 and file.read().strip() == FIREWALLD
    return False
