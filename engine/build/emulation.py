"""Whether this machine runs programs of another architecture, natively or with an emulator (binfmt_misc,
Documentation/admin-guide/binfmt-misc.rst)."""

from __future__ import annotations

import contextlib

from engine.image.platform import Platform, host

_HANDLERS = "/proc/sys/fs/binfmt_misc"
_NAMES = {
    "amd64": "x86_64",
    "386": "i386",
    "arm64": "aarch64",
    "arm": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "mips64le": "mips64el",
    "loong64": "loongarch64",
}
"""QEMU's names of Go's architectures."""


def runs(wanted: Platform, handlers: str = _HANDLERS) -> bool:
    """An emulator must be registered with the flag F, because images do not contain it."""
    here = host()
    if here.runs(wanted) or (here.architecture, wanted.architecture) == ("amd64", "386"):
        return True
    with contextlib.suppress(OSError), open(f"{handlers}/qemu-{_NAMES.get(wanted.architecture)}") as file:
        lines = file.read().splitlines()
        flags = next((line for line in lines if line.startswith("flags:")), "")
        return "enabled" in lines and "F" in flags.removeprefix("flags:")
    return False
