"""The local driver's options: type, o and device, as mount(8) takes them.

o: bind, device: /path                  a folder of the host's
type: tmpfs, o: size=64m,uid=1000       memory
type: nfs, o: addr=host,rw, device: :/path      what mount.nfs(8) and mount.cifs(8) do for the kernel is done here:
type: cifs, o: username=…, device: //host/share     a host's name becomes an address
"""

from __future__ import annotations

import errno
import os
import socket

from engine.errors import InvalidSpec, OperationFailed, Unsupported
from engine.kernel import calls, flags
from engine.spec.network import VolumeSpec

_NETWORK = ("nfs", "nfs4", "cifs", "smb3")
_WORDS = {
    "rbind": ("bind", "rec"),
    "defaults": (),
    "rw": (),
    "async": (),
    "auto": (),
    "noauto": (),
    "nofail": (),
    "_netdev": (),
}
"""Words of mount(8) that are combinations of flags, or that the kernel does not know."""

_SECRET = ("password", "pass", "password2")
_HINTS = {
    errno.ENODEV: "This kernel has no such file system, or its module is not loaded.",
    errno.ENOENT: "The device, or the folder it names, does not exist.",
    errno.EINVAL: "This file system does not know an option, or its value is invalid.",
    errno.EACCES: "The server refused access: check its exports, or the user name and password.",
    errno.ECONNREFUSED: "Nothing listens at that address.",
    errno.ETIMEDOUT: "The server does not answer.",
    errno.EHOSTUNREACH: "There is no route to that address.",
    errno.ENETUNREACH: "There is no route to that address.",
}


def check(spec: VolumeSpec) -> None:
    """Check the options. Raises InvalidSpec, Unsupported."""
    given = spec.driver_opts
    if unknown := sorted(set(given) - {"type", "o", "device"}):
        raise Unsupported(f"volume {spec.name}: the local driver has no option {unknown[0]!r}")
    if not given:
        return
    bits, rest = _parsed(spec)
    bind = bits & flags.MS["bind"]
    if bind and rest:
        raise InvalidSpec(
            f"volume {spec.name}: option {rest[0].partition('=')[0]!r} has no effect on a bind mount, which has no file system"
            " of its own"
        )
    if given.get("type", "") in ("", "none") and not bind:
        raise InvalidSpec(f"volume {spec.name}: driver_opts need a type, or o: bind")
    if not given.get("device") and given.get("type") != "tmpfs":
        raise InvalidSpec(f"volume {spec.name}: driver_opts need a device")
    if bind and not os.path.isabs(given["device"]):
        raise InvalidSpec(f"volume {spec.name}: the device {given['device']!r} of a bind mount is not an absolute path")


def mount(spec: VolumeSpec, place: str) -> None:
    """Mount the volume at `place`. Raises OperationFailed with a hint and without passwords."""
    kind, device = spec.driver_opts.get("type", ""), spec.driver_opts.get("device", "")
    bits, data = _parsed(spec)
    if kind in _NETWORK:
        data = _addressed(spec, kind, device, data)
    subject = f"volume {spec.name} (type {kind or 'none'}, device {device or kind}, options {_shown(bits, data)})"
    try:
        calls.mount(device or kind, place, kind or "none", bits, ",".join(data) or None)
        if bits & flags.MS["bind"] and bits & ~(flags.MS["bind"] | flags.MS["rec"]):
            # A bind mount gets its flags in a second call (mount(2)).
            calls.mount(None, place, None, bits | flags.MS["remount"])
    except OperationFailed as error:
        detail = os.strerror(error.errno)
        raise OperationFailed("mount", subject, error.errno, detail=detail, hint=_HINTS.get(error.errno, "")) from None


def _parsed(spec: VolumeSpec) -> tuple[int, list[str]]:
    """The flags, and the options for the file system."""
    bits, rest = 0, []
    for word in filter(None, (part.strip() for part in spec.driver_opts.get("o", "").split(","))):
        if word in _WORDS:
            for name in _WORDS[word]:
                bits |= flags.MS[name]
        elif word.startswith("x-"):
            continue  # a comment for other programs (fstab(5))
        elif word in flags.MS and word not in ("remount", "move"):
            bits |= flags.MS[word]
        else:
            rest.append(word)
    return bits, rest


def _addressed(spec: VolumeSpec, kind: str, device: str, data: list[str]) -> list[str]:
    """The options with the server's numeric address, because the kernel does not resolve names."""
    key = "addr" if kind.startswith("nfs") else "ip"
    given = next((word.partition("=")[2] for word in data if word.partition("=")[0] in ("addr", "ip")), "")
    host = given or (device.partition(":/")[0] if kind.startswith("nfs") else device.lstrip("/\\").partition("/")[0])
    if not host:
        raise InvalidSpec(
            f"volume {spec.name}: no server is named", hint=f"Give it in o: addr=HOST, or in device: {_EXAMPLES[key]}"
        )
    try:
        address = str(socket.getaddrinfo(host.strip("[]"), None, proto=socket.IPPROTO_TCP)[0][4][0])
    except OSError as error:
        raise OperationFailed(
            "find the address of", f"{host}, volume {spec.name}'s server", detail=str(error)
        ) from error
    return [*(word for word in data if word.partition("=")[0] not in ("addr", "ip")), f"{key}={address}"]


_EXAMPLES = {"addr": "HOST:/path", "ip": "//HOST/share"}


def shown(spec: VolumeSpec) -> str:
    """The driver options without passwords."""
    bits, data = _parsed(spec)
    given = {**spec.driver_opts, **({"o": _shown(bits, data)} if "o" in spec.driver_opts else {})}
    return ", ".join(f"{key}: {value}" for key, value in given.items()) or "no driver options"


def _shown(bits: int, data: list[str]) -> str:
    named = [name for name, bit in flags.MS.items() if bits & bit]
    hidden = [f"{word.partition('=')[0]}=…" if word.partition("=")[0] in _SECRET else word for word in data]
    return ",".join((*named, *hidden)) or "none"
