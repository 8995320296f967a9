"""Archives that Docker wrote before 1.10 (Docker image specification 1.0): <id>/json and <id>/layer.tar, linked by
`parent`, and `repositories` with the tags. The images get new ids, because ids are digests today."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import IO, Any

import msgspec

from engine.errors import ImageError
from engine.image import config as image_config
from engine.image import reference
from engine.image.archive.members import Members
from engine.image.images import ImageStore
from engine.image.layer.compression import chunks
from engine.image.layers import Layer
from engine.spec.image import ImageRecord

_MOST = 127
"""The limit of layers in one image that Docker had."""
Keep = Callable[[ImageStore, IO[bytes], Layer | None, str, str], Layer]
"""Unpacks a layer: store, stream, parent, chain id, diff id."""

_decode: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_decode_tags: msgspec.json.Decoder[dict[str, dict[str, str]]] = msgspec.json.Decoder(dict[str, dict[str, str]])


def load(images: ImageStore, members: Members, keep: Keep) -> list[ImageRecord]:
    """Store the tagged images or, if the archive has no tags, every image that is not the parent of another. Raises ImageError,
    Corrupt."""
    tags: dict[str, list[str]] = {}
    if "repositories" in members:
        for name, versions in _decode_tags.decode(members.read("repositories")).items():
            for tag, image in versions.items():
                tags.setdefault(image, []).append(str(reference.parse(f"{name}:{tag}")))
    if not tags:
        steps = {name[:-5]: _step(members, name[:-5]) for name in members.names() if name.endswith("/json")}
        below = {step.get("parent") for step in steps.values()}
        tags = {name: [] for name in steps if name not in below}
    return [_image(images, members, top, names, keep) for top, names in tags.items()]


def _step(members: Members, name: str) -> dict[str, Any]:
    return _decode.decode(members.read(f"{name}/json"))


def _image(images: ImageStore, members: Members, top: str, tags: list[str], keep: Keep) -> ImageRecord:
    steps = [_step(members, top)]
    names = [top]
    while parent := steps[-1].get("parent"):
        if not isinstance(parent, str) or len(steps) > _MOST:
            raise ImageError(f"image {top[:12]} of the archive has more than {_MOST} layers, or a wrong parent")
        names.append(parent)
        steps.append(_step(members, parent))
    diff_ids, chain, layer = [], [], None
    for name in reversed(names):
        diff_ids.append(_diff_id(members, f"{name}/layer.tar"))
        chain.append(image_config.chain_ids(diff_ids)[-1])
        found = images.layers.get(chain[-1])
        if found is None:
            with members.open(f"{name}/layer.tar") as stream:
                found = keep(images, stream, layer, chain[-1], diff_ids[-1])
        layer = found
    file = msgspec.json.encode(_configuration(steps, diff_ids))
    return msgspec.structs.replace(images.record(file, chain, tags=tags), tags=tuple(tags))


def _diff_id(members: Members, name: str) -> str:
    found = hashlib.sha256()
    with members.open(name) as file:
        for piece in chunks(file, name):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"


def _configuration(steps: list[dict[str, Any]], diff_ids: list[str]) -> dict[str, Any]:
    """The configuration in today's format; `steps` has the topmost first."""
    top = steps[0]
    history = []
    for step in reversed(steps):
        command = (step.get("container_config") or {}).get("Cmd") or []
        line = {
            "created": step.get("created", ""),
            "created_by": " ".join(map(str, command)),
            "author": step.get("author", ""),
            "comment": step.get("comment", ""),
        }
        history.append({key: value for key, value in line.items() if value})
    kept = ("created", "author", "architecture", "os", "config", "container_config", "docker_version")
    return {
        "architecture": "amd64",
        "os": "linux",
        **{key: top[key] for key in kept if top.get(key)},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }
