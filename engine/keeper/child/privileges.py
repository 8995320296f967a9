"""The program's privileges: capabilities, no_new_privs, seccomp filter."""

from __future__ import annotations

import functools

from engine.keeper.child.identity import Identity
from engine.kernel import flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Process
    from engine.keeper.child.kernel import Kernel

_PROGRAMS: dict[str, bytes] = {}


def restrict(kernel: Kernel, settings: Process, user: Identity) -> None:
    """Apply capabilities and the seccomp filter. Installing a filter needs CAP_SYS_ADMIN or no_new_privs."""
    whole = (1 << (last_capability() + 1)) - 1
    permitted = kernel.permitted()
    filtered = program(settings)
    early = bool(filtered) and not settings.get("no_new_privs")
    if early:
        kernel.capset(permitted, permitted, 0)
        kernel.seccomp(filtered)
    mask = settings["capabilities"]["effective"] & whole & permitted if user.uid == 0 else 0
    kernel.capset(mask, mask, 0)
    if filtered and not early:
        kernel.seccomp(filtered)


def bound(kernel: Kernel, settings: Process) -> None:
    """Limit the privileges that programs can gain from here on: no capabilities outside the bounding set, with
    no_new_privs none at all."""
    bounding = settings["capabilities"]["bounding"]
    for number in range(last_capability() + 1):
        if not bounding >> number & 1:
            kernel.prctl(flags.PR_CAPBSET_DROP, number)
    if settings.get("no_new_privs"):
        kernel.prctl(flags.PR_SET_NO_NEW_PRIVS, 1)


def program(settings: Process) -> bytes:
    """The seccomp filter, b"" for none; read now unless `preload` has read it."""
    path = settings.get("seccomp", "")
    preload(path)
    return _PROGRAMS[path] if path else b""


def preload(path: str) -> None:
    """Read a seccomp program while the host's file system is still mounted."""
    if path and path not in _PROGRAMS:
        with open(path, "rb") as file:
            _PROGRAMS[path] = file.read()


@functools.cache
def last_capability() -> int:
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 40
