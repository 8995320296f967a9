"""Detach keys: a sequence on a terminal by which a client leaves and lets the program go on (docker attach --detach-keys)."""

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


class Escape:
    """Looks for the sequence in what a client types, however it is cut into pieces."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What goes to the program, and whether the client detaches. The beginning of a sequence is held back."""
        data, self._held = self._held + data, b""
        at = data.find(self._keys)
        if at >= 0:
            return data[:at], True
        for size in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if data.endswith(self._keys[:size]):
                self._held = data[-size:]
                return data[:-size], False
        return data, False
