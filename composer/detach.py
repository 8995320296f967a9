"""Detach keys, by which a user leaves a container's terminal and lets its program go on (docker attach --detach-keys)."""

from __future__ import annotations


class Detach:
    """Looks for `keys` in what is typed, however it is cut into pieces; holds back what may be their beginning."""

    def __init__(self, keys: bytes) -> None:
        self._keys, self._held = keys, b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on, and whether the keys were complete."""
        if not self._keys:
            return data, False
        data = self._held + data
        self._held = b""
        place = data.find(self._keys)
        if place >= 0:
            return data[:place], True
        for length in range(min(len(self._keys) - 1, len(data)), 0, -1):
            if data.endswith(self._keys[:length]):
                self._held = data[-length:]
                return data[:-length], False
        return data, False
