"""The content of compose files: bytes of limited size, and their text."""

from __future__ import annotations

import os
import stat
import sys

from composer.load.errors import LoadError
from composer.load.tree.nodes import Origin

MAX_BYTES = 16 << 20


def stream(path: str) -> bool:
    """Whether the file can be read only once: a pipe, a socket, a terminal."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def read_bytes(path: str, *, named: bool = True) -> bytes:
    """The content of a compose file; "-" is standard input. Raises LoadError when it cannot be read.

    A pipe or device is read only when the user `named` it (`-f <(…)`), not when a file refers to it: it may never end.
    """
    if not named and stream(path):
        raise LoadError(f"{path} is not a regular file")
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LoadError(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > MAX_BYTES:
        raise LoadError(f"{path} has more than {MAX_BYTES} bytes, the limit for a compose file")
    return data


def decoded(data: bytes, file: str) -> str:
    """The text of a file: UTF-8, or UTF-16 with a byte order mark."""
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        position = f"byte 0x{data[error.start]:02x}" if error.start < len(data) else "the end"
        raise LoadError(f"{position} is not UTF-8 ({error.reason})", Origin(file, line, column)) from error
