"""The configuration of an exported cache (moby/buildkit, cache/remotecache/v1/doc.go), and of one inside an image."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from engine.errors import ImageError
from engine.image import config as image_config
from engine.image import manifest

MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0"
LIMIT = 64 << 20
"""Bytes of a configuration."""


class Notes(
    Struct, rename={"media_type": "mediaType", "diff_id": "diffID", "created": "createdAt"}, omit_defaults=True
):
    """A layer's annotations; `size` is that of the blob."""

    media_type: str = ""
    diff_id: str = ""
    size: int = 0
    created: str = msgspec.field(default="", name="createdAt")


class Layer(Struct, omit_defaults=True):
    """`parent` is the index of the layer below, -1 for none; BuildKit leaves 0 out."""

    blob: str
    parent: int = 0
    annotations: Notes | None = None


class Result(Struct):
    layer: int
    created: str = msgspec.field(default="", name="createdAt")


class Input(Struct, omit_defaults=True):
    selector: str = ""
    link: int = 0


class Record(Struct, omit_defaults=True):
    """`digest` is the key. Ours have no inputs, as the key holds the layers below; `step` is ours alone."""

    digest: str
    inputs: list[list[Input]] = []
    results: list[Result] = msgspec.field(default_factory=list, name="layers")
    step: str = ""


class Cache(Struct):
    layers: list[Layer] = []
    records: list[Record] = []


class Found(Struct, frozen=True):
    """The result of a record: layers, lowest first, each with its diff_id and blob."""

    layers: tuple[tuple[str, manifest.Descriptor], ...]
    created: float
    step: str


_decode_cache = msgspec.json.Decoder(Cache).decode
_decode_records = msgspec.json.Decoder(list[Record]).decode


def read(body: bytes, layers: list[manifest.Descriptor], subject: str) -> dict[str, Found]:
    """Key → result, from the configuration in `body`, whose manifest has these layers. Raises ImageError."""
    try:
        cache = _decode_cache(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"{subject}: not a build cache: {error}") from error
    blobs = {one.digest: one for one in layers}
    found = {}
    for record in cache.records:
        for result in record.results:
            if chain := _chain(cache, result.layer, blobs):
                found[record.digest] = Found(chain, image_config.timestamp(result.created), record.step)
    return found


def _chain(
    cache: Cache, index: int, blobs: dict[str, manifest.Descriptor]
) -> tuple[tuple[str, manifest.Descriptor], ...]:
    """Empty for an incomplete or cyclic chain."""
    chain: list[tuple[str, manifest.Descriptor]] = []
    while index >= 0:
        if index >= len(cache.layers) or len(chain) > manifest.LAYER_LIMIT:
            return ()
        layer = cache.layers[index]
        blob = blobs.get(layer.blob)
        if blob is None or layer.annotations is None or not layer.annotations.diff_id:
            return ()
        chain.append((layer.annotations.diff_id, blob))
        index = layer.parent
    return tuple(reversed(chain))


def read_inline(file: image_config.ImageFile, layers: list[manifest.Descriptor], subject: str) -> dict[str, Found]:
    """The same of the records in an image's configuration; results are indexes of its layers. Raises ImageError."""
    try:
        records = _decode_records(file.cache) if file.cache else []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"{subject}: not a build cache: {error}") from error
    whole = list(zip(file.rootfs.diff_ids or (), layers, strict=False))
    return {
        record.digest: Found(tuple(whole[: result.layer + 1]), image_config.timestamp(result.created), record.step)
        for record in records
        for result in record.results
        if 0 <= result.layer < len(whole)
    }
