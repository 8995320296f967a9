"""Detach keys: the user types them to detach from a container's terminal without stopping its program (docker attach
--detach-keys).
"""

from __future__ import annotations

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse(text: str) -> bytes:
    """The bytes of a sequence such as `ctrl-p,ctrl-q`, by Docker's grammar: ASCII characters, DEL, and ctrl- with a lower-case
    letter or one of @ [ \\ ] ^ _, separated by commas; "" is the default. Raises ValueError.
    """
    keys = bytearray()
    for word in (text or DEFAULT).split(","):
        letter = word.removeprefix("ctrl-")
        if len(word) == 1 and word.isascii():
            keys.append(ord(word))
        elif word == "DEL":
            keys.append(127)
        elif word != letter and len(letter) == 1 and letter in _CONTROL:
            keys.append(_CONTROL.index(letter))
        else:
            raise ValueError(text)
    return bytes(keys)


class Detach:
    """Finds `keys` in the input, however it is split; holds back bytes that may be their beginning."""

    def __init__(self, keys: bytes) -> None:
        self._keys, self._partial = keys, b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes to pass on, and whether the keys were complete."""
        if not self._keys:
            return data, False
        data = self._partial + data
        self._partial = b""
        place = data.find(self._keys)
        if place >= 0:
            return data[:place], True
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if data.endswith(self._keys[:length]):
                self._partial = data[-length:]
                return data[:-length], False
        return data, False
