"""The wire format of Protocol Buffers (protobuf.dev, "Encoding"), as far as BuildKit's messages use it.

A decoded message is: field number → values in order, either integers or bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Value = int | bytes | str
Fields = dict[int, list[int | bytes]]


class Malformed(ValueError):
    """These bytes are not a valid message."""


def message(*fields: tuple[int, Value | None]) -> bytes:
    """Encode fields in order; None, 0 and empty values are omitted, as in proto3."""
    out = bytearray()
    for number, value in fields:
        if not value:
            continue
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        else:
            out += block(number, value.encode() if isinstance(value, str) else value)
    return bytes(out)


def block(number: int, data: bytes) -> bytes:
    """Encode a field of bytes even if it is empty: a member of a oneof, or a list element."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def mapping(number: int, entries: Mapping[str, str | bytes]) -> bytes:
    return b"".join(block(number, message((1, key), (2, value))) for key, value in entries.items())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(data: bytes) -> Fields:
    """Decode a message. Raises Malformed if it is truncated or contains a group."""
    found: Fields = {}
    at = 0
    while at < len(data):
        key, at = _read(data, at)
        kind, value = key & 7, 0
        if kind == 0:
            value, at = _read(data, at)
            found.setdefault(key >> 3, []).append(value)
            continue
        if kind == 2:
            length, at = _read(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise Malformed(f"wire type {kind}")
        if at + length > len(data):
            raise Malformed("truncated field")
        found.setdefault(key >> 3, []).append(data[at : at + length])
        at += length
    return found


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise Malformed("truncated number")


def text(found: Fields, number: int) -> str:
    """The last value of a string field, "" if it is absent. Raises Malformed."""
    data = found.get(number, [b""])[-1]
    if isinstance(data, int):
        raise Malformed(f"field {number} is a number")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed(f"field {number} is not UTF-8") from None


def number(found: Fields, key: int) -> int:
    value = found.get(key, [0])[-1]
    if not isinstance(value, int):
        raise Malformed(f"field {key} is not a number")
    return value


def blocks(found: Fields, key: int) -> Iterable[bytes]:
    for value in found.get(key, []):
        if isinstance(value, int):
            raise Malformed(f"field {key} is a number")
        yield value


def strings(found: Fields, key: int) -> dict[str, str]:
    """A map<string, string>. Raises Malformed."""
    entries = [fields(entry) for entry in blocks(found, key)]
    return {text(entry, 1): text(entry, 2) for entry in entries}
