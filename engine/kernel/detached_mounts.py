"""Mounts outside all mount namespaces: fsopen(2), fsconfig(2), fsmount(2); and syncfs(2).

These may take a while, so unlike `engine.kernel.calls` they release the GIL.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from engine.errors import OperationFailed
from engine.kernel.flags import MOUNT_ATTR

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

# One number on every architecture (include/uapi/asm-generic/unistd.h).
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6


def _check(result: int, operation: str, subject: object, context: int = -1) -> int:
    if result < 0:
        number = ctypes.get_errno()
        messages = _messages(context) if context >= 0 else ""
        raise OperationFailed(operation, subject, number, detail=messages or os.strerror(number))
    return int(result)


def _messages(context: int) -> str:
    """The file system's messages about a failure: lines of "e overlay: …" (fsopen(2))."""
    lines: list[str] = []
    while True:
        try:
            line = os.read(context, 4096)
        except OSError:
            return "; ".join(lines)
        if line[:2] == b"e ":
            lines.append(line[2:].decode(errors="replace").strip())


def filesystem(kind: str, source: str = "", options: str = "", attributes: Iterable[str] = ()) -> int:
    """A new mount as a descriptor, equivalent to mount(2) with a type, a source, "key=value,flag" and flag names."""
    context = fsopen(kind)
    try:
        set_option(context, "source", source or kind)
        for option in filter(None, options.split(",")):
            key, equals, value = option.partition("=")
            set_option(context, key, value if equals else None)
        return fsmount(context, sum(MOUNT_ATTR.get(name, 0) for name in attributes))
    finally:
        os.close(context)


def fsopen(kind: str) -> int:
    """A context for configuring a file system of this kind."""
    number, flags = ctypes.c_long(_FSOPEN), ctypes.c_uint(_FSOPEN_CLOEXEC)
    return _check(_libc.syscall(number, kind.encode(), flags), "fsopen", kind)


def set_option(context: int, key: str, value: str | None = None) -> None:
    """A mount option; at most 255 bytes of value."""
    command = _SET_FLAG if value is None else _SET_STRING
    _config(context, command, key.encode(), None if value is None else os.fsencode(value), f"{key}={value}")


def fsmount(context: int, attributes: int = 0) -> int:
    """Create the file system and return a descriptor of its root; it is unmounted with the last descriptor."""
    _config(context, _CREATE, None, None, "create")
    number, flags = ctypes.c_long(_FSMOUNT), ctypes.c_uint(_FSMOUNT_CLOEXEC)
    result = _libc.syscall(number, ctypes.c_int(context), flags, ctypes.c_uint(attributes))
    return _check(result, "fsmount", context, context)


def _config(context: int, command: int, key: bytes | None, value: bytes | None, subject: str) -> None:
    number = ctypes.c_long(_FSCONFIG)
    result = _libc.syscall(number, ctypes.c_int(context), ctypes.c_uint(command), key, value, ctypes.c_int(0))
    _check(result, "fsconfig", subject, context)


def syncfs(fd: int) -> None:
    """Write the file system that contains `fd` to disk."""
    _check(_libc.syncfs(ctypes.c_int(fd)), "syncfs", fd)
