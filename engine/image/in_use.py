"""Which containers use which images: by their rows, and for mounted images by their specifications."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from engine.paths import SPEC_FILE
from engine.store import Store


class _Mount(Struct):
    type: str = ""
    source: str = ""


class _Spec(Struct):
    name: str = ""
    image: str = ""
    mounts: list[_Mount] = []


_decode = msgspec.json.Decoder(_Spec).decode


def containers_using(store: Store) -> dict[str, list[str]]:
    """Image id → names of the containers created from it or mounting it. An unreadable specification is ignored."""
    import glob

    users: dict[str, list[str]] = {}
    for name, image in store.db.execute("SELECT name, image_id FROM containers ORDER BY name"):
        users.setdefault(image, []).append(name)
    for path in glob.iglob(f"{glob.escape(store.roots.groups)}/*/*/{SPEC_FILE}"):
        try:
            with open(path, "rb") as file:
                spec = _decode(file.read())
        except (OSError, msgspec.MsgspecError):
            continue
        for image in (spec.image, *(mount.source for mount in spec.mounts if mount.type == "image")):
            names = users.setdefault(image, [])
            if spec.name not in names:
                names.append(spec.name)
    return users
