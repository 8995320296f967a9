"""MessagePack: what the Forward protocol sends, and the maps of strings in its replies."""

from __future__ import annotations

import struct
from typing import TypeAlias


class EventTime:
    """Fluentd's time with nanoseconds (Forward Protocol Specification v1, ext type 0)."""

    def __init__(self, timestamp: int) -> None:
        self.timestamp = timestamp


Value: TypeAlias = "str | bytes | int | bool | list[Value] | dict[str, Value] | EventTime | None"


def pack(value: Value) -> bytes:
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _integer(value)
        case str():
            data = value.encode()
            return _head(len(data), (0xA0, 32), (0xD9, 0xDA, 0xDB)) + data
        case bytes():
            return _head(len(value), None, (0xC4, 0xC5, 0xC6)) + value
        case list():
            return _head(len(value), (0x90, 16), (None, 0xDC, 0xDD)) + b"".join(map(pack, value))
        case dict():
            head = _head(len(value), (0x80, 16), (None, 0xDE, 0xDF))
            return head + b"".join(pack(key) + pack(item) for key, item in value.items())
        case EventTime():
            seconds, rest = divmod(value.timestamp, 1_000_000_000)
            return b"\xd7\x00" + struct.pack(">II", seconds & 0xFFFFFFFF, rest)
    raise TypeError(f"{type(value).__name__} cannot be encoded as MessagePack")


def _integer(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes((value,))
    return struct.pack(">BQ", 0xCF, value) if value > 0 else struct.pack(">Bq", 0xD3, value)


def _head(size: int, short: tuple[int, int] | None, kinds: tuple[int | None, int, int]) -> bytes:
    if short and size < short[1]:
        return bytes((short[0] | size,))
    one, two, four = kinds
    if one is not None and size < 1 << 8:
        return struct.pack(">BB", one, size)
    if size < 1 << 16:
        return struct.pack(">BH", two, size)
    return struct.pack(">BI", four, size)


def unpack_strings(data: bytes) -> dict[str, str] | None:
    """A map of strings, the form of an acknowledgement; None while it is incomplete. Raises ValueError for anything
    else."""
    if not data:
        return None
    if data[0] & 0xF0 != 0x80:
        raise ValueError("not a MessagePack map")
    place, words = 1, []
    for _ in range(2 * (data[0] & 0x0F)):
        if place >= len(data):
            return None
        head = data[place]
        if head & 0xE0 == 0xA0:
            start, size = place + 1, head & 0x1F
        elif head == 0xD9:
            if place + 1 >= len(data):
                return None
            start, size = place + 2, data[place + 1]
        else:
            raise ValueError("not a MessagePack string")
        place = start + size
        if place > len(data):
            return None
        words.append(data[start:place].decode())
    return dict(zip(words[::2], words[1::2], strict=True))
