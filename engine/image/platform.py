"""Platforms as images name them: os/architecture[/variant] (OCI image specification, image-index.md; Go's GOARCH)."""

from __future__ import annotations

import functools
import os

from msgspec import Struct

from engine.errors import InvalidSpec

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),
}
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7"}


class Platform(Struct, frozen=True):
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")

    def runs(self, image: Platform) -> bool:
        """Whether an image for platform `image` runs here: same os and architecture, and no newer variant."""
        if (self.os, self.architecture) != (image.os, image.architecture):
            return False
        default = _DEFAULT_VARIANT.get(self.architecture, "")
        mine, theirs = self.variant or default, image.variant or default
        return theirs == mine or (self.architecture in ("arm", "amd64") and theirs <= mine) or not theirs


@functools.cache
def host() -> Platform:
    """The platform of this machine (uname(2))."""
    machine = os.uname().machine
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def parse(text: str) -> Platform:
    """`linux/arm64/v8`, `linux/amd64`, or only an os or an architecture; "" is the host's. Raises InvalidSpec."""
    if not text or text == "local":
        return host()
    parts = text.strip().lower().split("/")
    if not all(parts) or len(parts) > 3:
        raise InvalidSpec(f"invalid platform {text!r}: expected os[/architecture[/variant]]")
    if len(parts) == 1:
        if parts[0] == "linux":
            return host()
        if parts[0] not in _ARCHITECTURES:
            raise InvalidSpec(f"invalid platform {text!r}: unknown operating system or architecture")
        parts = ["linux", parts[0]]
    architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
    return normalised(Platform(parts[0], architecture, parts[2] if len(parts) == 3 else variant))


def normalised(platform: Platform) -> Platform:
    """The form that containerd uses: arm64 implies v8 (github.com/containerd/platforms, Normalize)."""
    if (platform.architecture, platform.variant) == ("arm64", "v8"):
        return Platform(platform.os, platform.architecture)
    return platform
