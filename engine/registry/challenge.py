"""The WWW-Authenticate header (RFC 9110, 11.6.1): the schemes that a server accepts, with their parameters."""

from __future__ import annotations

import re

from msgspec import Struct

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf"\s*({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|({_TOKEN}|[^\s,\"]+))\s*(?:,|\Z)")
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|,|\Z)")


class Challenge(Struct, frozen=True):
    """One scheme in lower case (basic, bearer) and its parameters by lower-case name."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str) -> list[Challenge]:
    """The challenges in `header`, in order, up to the first malformed one."""
    found: list[Challenge] = []
    at = 0
    while at < len(header) and (match := _SCHEME.match(header, at)):
        at = match.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, at):
            quoted = parameter[2]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
            parameters.setdefault(parameter[1].lower(), value)
            at = parameter.end()
        found.append(Challenge(match[1].lower(), parameters))
    return found
