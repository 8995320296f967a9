"""Capability sets as bit masks (capabilities(7)); the default set is Docker's."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from engine.errors import InvalidSpec

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
ALL = (1 << len(NAMES)) - 1
DEFAULT = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)  # fmt: skip


def mask(names: Iterable[str]) -> int:
    """The bits of the names, with or without CAP_, ALL for all. Raises InvalidSpec for an unknown one."""
    bits = 0
    for name in names:
        plain = name.upper().removeprefix("CAP_")
        if plain == "ALL":
            bits |= ALL
        elif plain in NAMES:
            bits |= 1 << NAMES.index(plain)
        else:
            raise InvalidSpec(f"unknown capability {name!r}")
    return bits


def effective(add: Iterable[str], drop: Iterable[str], *, privileged: bool = False) -> int:
    """Docker's rule: all when privileged; else the default, or all or none where ALL is added or dropped, then the rest."""
    return ALL if privileged else _effective(tuple(add), tuple(drop))


@functools.lru_cache(maxsize=64)
def _effective(add: tuple[str, ...], drop: tuple[str, ...]) -> int:
    added, dropped = mask(add), mask(drop)
    base = mask(DEFAULT)
    if dropped == ALL:
        return added if added != ALL else ALL
    return (base | added) & ~dropped


def has(bits: int, name: str) -> bool:
    return bool(bits & 1 << NAMES.index(name))
