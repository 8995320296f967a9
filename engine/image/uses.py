"""Which containers use which images, told from the specifications in their folders."""

from __future__ import annotations

import glob

import msgspec
from msgspec import Struct

from engine.paths import Roots


class _Mount(Struct):
    type: str = ""
    source: str = ""


class _Spec(Struct):
    name: str = ""
    image: str = ""
    mounts: list[_Mount] = []


def containers_using(roots: Roots) -> dict[str, list[str]]:
    """Image id → names of the containers made from it or mounting it. An unreadable specification counts as none."""
    users: dict[str, list[str]] = {}
    for path in glob.iglob(f"{glob.escape(roots.groups)}/*/*/spec.json"):
        try:
            with open(path, "rb") as file:
                spec = msgspec.json.decode(file.read(), type=_Spec)
        except (OSError, msgspec.MsgspecError):
            continue
        for image in {spec.image, *(mount.source for mount in spec.mounts if mount.type == "image")}:
            users.setdefault(image, []).append(spec.name)
    return users
