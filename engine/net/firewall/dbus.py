"""A client for method calls on the system's message bus (D-Bus Specification 0.43), as far as firewalld needs one: a
call and its answer, with strings, booleans, lists, and dictionaries of variants.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

_CALL, _ANSWER, _ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_LIMIT = 1 << 24
"""Bytes of an answer; the bus allows 128 MiB."""
_BUS = "org.freedesktop.DBus"
_NUMBERS = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "h": "I"}


class CallFailed(Exception):
    """The called object answered with an error. `name`: the error's name on the bus."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


class Bus:
    """A connection to the message bus at a socket path. All methods raise OSError if the bus fails or does not answer in
    `timeout` seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._serial = 0
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            user = str(os.geteuid()).encode().hex().encode()
            self._socket.sendall(b"\0AUTH EXTERNAL " + user + b"\r\n")
            if not self._line().startswith(b"OK"):
                raise PermissionError("the message bus does not admit us")
            self._socket.sendall(b"BEGIN\r\n")
            self.call(_BUS, "/org/freedesktop/DBus", _BUS, "Hello")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", values: Sequence[Any] = ()
    ) -> list[Any]:
        """Call a method with arguments of the types in `signature`, and return the values of its answer. Raises
        CallFailed if the answer is an error."""
        self._serial += 1
        fields = [
            (_PATH, ("o", path)),
            (_DESTINATION, ("s", destination)),
            (_INTERFACE, ("s", interface)),
            (_MEMBER, ("s", member)),
            *([(_SIGNATURE, ("g", signature))] if signature else []),
        ]
        body = bytearray()
        for kind, value in zip(_types(signature), values, strict=True):
            _write(body, kind, value)
        head = bytearray(struct.pack("<cBBBII", b"l", _CALL, 0, 1, len(body), self._serial))
        _write(head, "a(yv)", fields)
        self._socket.sendall(bytes(head) + bytes(-len(head) % 8) + bytes(body))
        while True:
            answer, known, found = self._message()
            if known.get(_REPLY_SERIAL) != self._serial:
                continue  # a signal, such as NameAcquired
            if answer == _ERROR:
                raise CallFailed(str(known.get(_ERROR_NAME, "")), str(found[0]) if found else "")
            if answer == _ANSWER:
                return found

    def _line(self) -> bytes:
        found = b""
        while not found.endswith(b"\r\n"):
            found += self._exactly(1)
            if len(found) > 4096:
                raise ConnectionError("the message bus sends no line")
        return found

    def _message(self) -> tuple[int, dict[int, Any], list[Any]]:
        """The kind, header fields and values of the next message."""
        start = self._exactly(16)
        order = "<" if start[:1] == b"l" else ">"
        size, fields_size = struct.unpack_from(f"{order}I", start, 4)[0], struct.unpack_from(f"{order}I", start, 12)[0]
        if size > _LIMIT or fields_size > _LIMIT:
            raise ConnectionError("the message bus sends a message that is too long")
        rest = self._exactly(fields_size + -fields_size % 8 + size)
        try:
            fields = dict(_Reader(start + rest[:fields_size], order, 12).read("a(yv)"))
            body = _Reader(rest[len(rest) - size :], order)
            return start[1], fields, [body.read(kind) for kind in _types(str(fields.get(_SIGNATURE, "")))]
        except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConnectionError("the message bus sends a malformed message") from error

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            part = self._socket.recv(min(size - len(found), 1 << 16))
            if not part:
                raise ConnectionError("the message bus closes the connection")
            found += part
        return bytes(found)


def _types(signature: str) -> list[str]:
    """The complete types that a signature consists of."""
    found = []
    while signature:
        end = _end(signature)
        found.append(signature[:end])
        signature = signature[end:]
    return found


def _end(signature: str) -> int:
    """The length of the first complete type."""
    if signature[0] == "a":
        return 1 + _end(signature[1:])
    if signature[0] in "({":
        at = 1
        while signature[at] not in ")}":
            at += _end(signature[at:])
        return at + 1
    return 1


def _alignment(kind: str) -> int:
    if kind[0] in _NUMBERS:
        return struct.calcsize(_NUMBERS[kind[0]])
    return {"s": 4, "o": 4, "a": 4, "(": 8, "{": 8}.get(kind[0], 1)


def _write(to: bytearray, kind: str, value: Any) -> None:
    """Append a value. A variant is (type, value); a dictionary's entries are those of a dict."""
    to += bytes(-len(to) % _alignment(kind))
    if kind in _NUMBERS:
        to += struct.pack("<" + _NUMBERS[kind], value)
    elif kind in "so":
        text = value.encode()
        to += struct.pack("<I", len(text)) + text + b"\0"
    elif kind == "g":
        to += bytes((len(value),)) + value.encode() + b"\0"
    elif kind == "v":
        _write(to, "g", value[0])
        _write(to, *value)
    elif kind[0] == "a":
        start = len(to)
        to += bytes(4)
        to += bytes(-len(to) % _alignment(kind[1:]))
        first = len(to)
        for item in value.items() if kind[1] == "{" else value:
            _write(to, kind[1:], item)
        struct.pack_into("<I", to, start, len(to) - first)
    else:
        for inner, item in zip(_types(kind[1:-1]), value, strict=True):
            _write(to, inner, item)


class _Reader:
    def __init__(self, data: bytes, order: str, at: int = 0) -> None:
        self._data, self._order, self._at = data, order, at

    def read(self, kind: str) -> Any:
        self._at += -self._at % _alignment(kind)
        if kind in _NUMBERS:
            (value,) = struct.unpack_from(self._order + _NUMBERS[kind], self._data, self._at)
            self._at += struct.calcsize(_NUMBERS[kind])
            return bool(value) if kind == "b" else value
        if kind in "sog":
            size = self.read("y" if kind == "g" else "u")
            text = self._data[self._at : self._at + size].decode()
            self._at += size + 1
            return text
        if kind == "v":
            return self.read(self.read("g"))
        if kind[0] == "a":
            return self._array(kind[1:])
        return tuple(self.read(inner) for inner in _types(kind[1:-1]))

    def _array(self, kind: str) -> Any:
        size = self.read("u")
        self._at += -self._at % _alignment(kind)
        end = self._at + size
        if end > len(self._data):
            raise ValueError("an array is longer than its message")
        collect: Callable[[list[Any]], Any] = dict if kind[0] == "{" else list
        found = []
        while self._at < end:
            found.append(self.read(kind))
        return collect(found)
