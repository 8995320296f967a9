"""TEMPORARY until engine.kernel has it: openat2(2) and syncfs(2)."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_OPENAT2 = 437


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    how = _How(flags, mode, 0x10 | 0x02)
    for _ in range(100):
        fd: int = _libc.syscall(_SYS_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != 11:
            break
    raise OSError(number, os.strerror(number), path)


def syncfs(fd: int) -> None:
    if _libc.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def fsopen(name: str) -> int:
    return _checked(_libc.syscall(430, name.encode(), 1), "fsopen")


def fsconfig(fd: int, command: int, key: str | None, value: str | None) -> None:
    _checked(
        _libc.syscall(431, fd, command, key.encode() if key else None, os.fsencode(value) if value else None, 0),
        f"fsconfig {key}={value}",
    )


def fsmount(fd: int) -> int:
    return _checked(_libc.syscall(432, fd, 1, 0), "fsmount")
