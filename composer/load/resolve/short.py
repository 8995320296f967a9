"""Parsers of short forms with a grammar: ports, volumes, devices."""

from __future__ import annotations

from composer.load.resolve.errors import ShortFormError
from engine.vocabulary import PROPAGATIONS

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any


# ---- ports: [[IP:]PUBLISHED:]TARGET[/PROTOCOL]


def ports(text: str) -> list[dict[str, Any]]:
    """The long forms of a short port: several for a range of target ports, sorted as text."""
    address, published, target = _port_parts(text)
    target, _, protocol = target.partition("/")
    protocol = (protocol or "tcp").lower()
    if not target:
        raise ShortFormError(f"no container port in {text!r}; write [[IP:]HOST:]CONTAINER[/PROTOCOL]")
    if protocol not in ("tcp", "udp", "sctp"):
        raise ShortFormError(f"invalid protocol {protocol!r} in {text!r} (tcp, udp or sctp)")
    address = _address(address, text)
    first, last = _range(target, "container", text)
    if not last:
        raise ShortFormError(f"port 0 of a container cannot be reached: {text!r} is missing a target port")
    found: dict[str, dict[str, Any]] = {}
    start = end = 0
    if published:
        start, end = _range(published, "host", text)
        if last - first != end - start and last != first:
            raise ShortFormError(f"ranges of different length in {text!r}: {published} and {target}")
    for offset in range(last - first + 1):
        host = ""
        if published:
            host = str(start + offset)
            if first == last and start != end:
                host += f"-{end}"
        port: dict[str, Any] = {"mode": "ingress"}
        if address:
            port["host_ip"] = address
        port["target"] = first + offset
        if host:
            port["published"] = host
        port["protocol"] = protocol
        found[f"{first + offset}/{protocol}"] = port
    return [found[key] for key in sorted(found)]


def _port_parts(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _address(text: str, port: str) -> str:
    if text.startswith("["):
        if not text.endswith("]"):
            raise ShortFormError(f"invalid IP address {text!r} in {port!r}")
        text = text[1:-1]
    elif ":" in text and is_address(text):
        raise ShortFormError(f"invalid IP address {text!r} in {port!r}; write an IPv6 address in brackets: [{text}]")
    if text and not is_address(text):
        raise ShortFormError(f"invalid IP address {text!r} in {port!r}")
    return text


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, without a zone."""
    import socket

    if text.isascii() and "\0" not in text and "%" not in text:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                socket.inet_pton(family, text)
                return True
            except OSError:
                pass
    return False


def _range(text: str, side: str, port: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    start = _port(first, side, port)
    if not dash or first == last:
        return start, start
    end = _port(last, side, port)
    if end < start:
        raise ShortFormError(f"{side} port range {text} of {port!r} ends before it starts")
    return start, end


def _port(text: str, side: str, port: str) -> int:
    digits = text[1:] if text[:1] == "+" else text
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 20:
        raise ShortFormError(f"invalid {side} port {text!r} in {port!r}")
    number = int(digits)
    if number > 65535:
        raise ShortFormError(f"{side} port {text} in {port!r} is out of range (0 to 65535)")
    return number


# ---- volumes: [SOURCE:]TARGET[:OPTION[,OPTION…]]


def volume(text: str) -> dict[str, Any]:
    """The long form of a short volume."""
    if not text:
        raise ShortFormError("invalid empty volume spec")
    if len(text) <= 2:
        return {"type": "volume", "target": text}
    parts = _volume_parts(text)
    if len(parts) > 3:
        raise ShortFormError(f"invalid spec: {text}: too many colons")
    source, target = parts[:2] if len(parts) > 1 else ("", parts[0])
    options = parts[2] if len(parts) > 2 else ""
    bind: dict[str, Any] = {}
    nocopy = False
    found: dict[str, Any] = {"source": source} if source else {}
    found["target"] = target
    for option in options.split(",") if options else ():
        if option == "ro":
            found["read_only"] = True
        elif option == "rw":
            found.pop("read_only", None)
        elif option == "nocopy":
            nocopy = True
        elif option in PROPAGATIONS:
            bind["propagation"] = option
        elif option in ("z", "Z"):
            bind["selinux"] = option
    if is_path(source):
        found["type"] = "bind"
        found["bind"] = bind
        if nocopy:
            found["volume"] = {"nocopy": True}
    else:
        found["type"] = "volume"
        found["volume"] = {"nocopy": True} if nocopy else {}
        if bind:
            found["bind"] = bind
    return found


def _volume_parts(text: str) -> list[str]:
    """The parts between colons, except the colon of a Windows drive (C:\\) and colons inside ${…}."""
    parts: list[str] = []
    start = depth = 0
    size = len(text)
    for index, character in enumerate(text):
        if character == "$" and text[index + 1 : index + 2] == "{":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif character == ":" and not depth:
            part = text[start:index]
            if len(part) == 1 and part.isalpha():
                continue
            if not part:
                raise ShortFormError(f"invalid spec: {text}: empty section between colons")
            parts.append(part)
            start = index + 1
    if start == size:
        raise ShortFormError(f"invalid spec: {text}: empty section between colons")
    parts.append(text[start:])
    return parts


def is_path(source: str) -> bool:
    """Whether a volume's source is a path on the host, not a volume's name."""
    return (source[:1] in (".", "/", "~") and bool(source)) or source.startswith("\\\\") or _is_drive(source)


def _is_drive(source: str) -> bool:
    return len(source) > 1 and source[1] == ":" and source[0].isalpha()


# ---- devices: SOURCE[:TARGET[:PERMISSIONS]]


def device(text: str) -> dict[str, Any]:
    """The long form of a short device mapping."""
    parts = text.split(":")
    if len(parts) > 3:
        raise ShortFormError(f"confusing device mapping, please use long syntax: {text}")
    source = parts[0]
    return {
        "source": source,
        "target": parts[1] if len(parts) > 1 and parts[1] else source,
        "permissions": parts[2] if len(parts) > 2 else "rwm",
    }
