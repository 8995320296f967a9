"""The disk space of images and the build cache, and what removing some of them would free."""

from __future__ import annotations

import contextlib
import os

import msgspec
from msgspec import Struct

from engine.image.images import ImageStore
from engine.spec.image import CacheEntry, StoreUsage


class CacheRecord(Struct, kw_only=True):
    """A step in the build cache (engine.build.cache).

    `layers` are chain ids that the record refers to: the last one is the step's result; none if the step changed
    nothing. `created` is when the step ran (seconds since the epoch), so that a cached build produces the same image
    again.
    """

    layers: tuple[str, ...]
    created: float
    step: str = ""


decode_record = msgspec.json.Decoder(CacheRecord).decode


class Holdings(Struct):
    """The existing layers (chain id → bytes of the directory and of the blob that is kept with it), and what refers to
    them."""

    sizes: dict[str, int]
    images: dict[str, set[str]]
    cache: dict[str, set[str]]

    def kept(self, *, images: set[str] = frozenset(), cache: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
        """Layers with references from other sources than these images and cache records."""
        holders = [layers for key, layers in self.images.items() if key not in images]
        holders += [layers for key, layers in self.cache.items() if key not in cache]
        return set().union(*holders)

    def freed(self, images: set[str], cache: set[str]) -> int:
        """Bytes of layers that only these images and cache records refer to."""
        return sum(self.sizes.get(layer, 0) for layer in self.kept() - self.kept(images=images, cache=cache))


def holdings(images: ImageStore) -> Holdings:
    db = images.store.db
    holders: dict[str, set[str]] = {row[0]: set() for row in db.execute("SELECT id FROM images")}
    for image_id, chain_id in db.execute("SELECT image_id, chain_id FROM image_layers"):
        holders.setdefault(image_id, set()).add(chain_id)
    cache = {key: set(decode_record(text).layers) for key, text in db.execute("SELECT key, record FROM build_cache")}
    return Holdings(_sizes(images), holders, cache)


def _sizes(images: ImageStore) -> dict[str, int]:
    """Bytes of each layer; a blob of several layers is counted with the first of them."""
    sizes: dict[str, int] = {}
    seen = {""}
    for chain_id, size, blob in images.store.db.execute("SELECT chain_id, size, blob FROM layers ORDER BY chain_id"):
        sizes[chain_id] = size
        if blob not in seen:
            seen.add(blob)
            with contextlib.suppress(FileNotFoundError):
                sizes[chain_id] += os.stat(images.blobs.path(blob)).st_size
    return sizes


def usage(images: ImageStore) -> StoreUsage:
    """Sizes of all images and of the build cache, with its records, the most recently used first. A layer that several records
    keep is counted with the first of them."""
    have = holdings(images)
    counts: dict[str, int] = {}
    for layers in have.images.values():
        for layer in layers:
            counts[layer] = counts.get(layer, 0) + 1
    shared = {
        image_id: sum(have.sizes.get(layer, 0) for layer in layers if counts[layer] > 1)
        for image_id, layers in have.images.items()
    }
    rows = images.store.db.execute("SELECT key, record, used_at FROM build_cache ORDER BY used_at DESC, key")
    entries, seen = [], set(counts)
    for key, text, used_at in rows:
        record = decode_record(text)
        own = set(record.layers) - seen
        seen |= own
        entries.append(
            CacheEntry(
                key=key,
                step=record.step,
                size=sum(have.sizes.get(layer, 0) for layer in own),
                shared=any(layer in counts for layer in record.layers),
                in_use=bool(record.layers) and all(layer in counts for layer in record.layers),
                created_at=record.created,
                used_at=used_at,
            )
        )
    sizes = {image_id: sum(have.sizes.get(layer, 0) for layer in layers) for image_id, layers in have.images.items()}
    total = sum(have.sizes.get(layer, 0) for layer in counts)
    return StoreUsage(layers=total, images=sizes, shared=shared, cache=tuple(entries))
