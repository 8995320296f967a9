"""Parse the detach keys of a request; composer.detach finds them in the input."""

from __future__ import annotations

import re

from composer.serve.http.errors import BadRequest

DEFAULT = bytes((16, 17))
"""Ctrl-P, Ctrl-Q."""
_CONTROL = re.compile(r"ctrl-([a-z@\[\\\]^_])", re.I)


def sequence(text: str) -> bytes:
    """`ctrl-p,ctrl-q` as bytes; the default for "". Parts are one character, DEL, or ctrl- with a letter or one of @[\\]^_.

    BadRequest."""
    if not text:
        return DEFAULT
    found = bytearray()
    for part in text.split(","):
        if control := _CONTROL.fullmatch(part):
            found.append(ord(control[1].upper()) & 0x1F)
        elif part == "DEL":
            found.append(127)
        elif len(part) == 1 and part.isascii():
            found.append(ord(part))
        else:
            raise BadRequest(f"Invalid detach keys ({text}) provided")
    return bytes(found)
