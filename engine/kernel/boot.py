"""This boot of the machine."""

from __future__ import annotations

_boot_id = ""


def boot_id() -> str:
    """The kernel's id of this boot (random(4), /proc/sys/kernel/random/boot_id)."""
    global _boot_id
    if not _boot_id:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            _boot_id = file.read().strip()
    return _boot_id
