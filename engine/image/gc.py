"""Garbage collection of images: mark from images (kept by tags, containers or builds) and the build cache, then sweep.

This is safe at any time: nothing is removed while content is being added (engine.image.lease). Remains of a crash (drafts,
partial blobs, directories without a row) are removed as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from msgspec import Struct

from engine.image import lease
from engine.image.images import ImageStore
from engine.image.in_use import containers_using
from engine.image.layers import WHOLE
from engine.image.usage import decode_record, holdings
from engine.kernel.boot import boot_id
from engine.spec.image import Freed

_YOUNG = 3600.0
"""Seconds for which an image is kept regardless of the budget."""


class Collected(Struct):
    """The removed layers and blobs, and their size in bytes."""

    layers: int = 0
    blobs: int = 0
    size: int = 0


def prune(
    images: ImageStore,
    image_ids: Iterable[str] = (),
    cache_keys: Iterable[str] = (),
    *,
    preview: bool = False,
    later: bool = False,
) -> Freed:
    """Delete these images, except those that a container uses, and records of the build cache, and then collect. With
    `preview`, nothing is deleted; the result is what would be removed. With `later`, the directories of layers only become
    rubbish."""
    used = containers_using(images.store)
    removed = [image_id for image_id in image_ids if image_id not in used]
    keys = list(cache_keys)
    size = holdings(images).freed(set(removed), set(keys))
    if not preview:
        with images.store.transaction(freeing=True) as db:
            db.executemany("DELETE FROM images WHERE id = ?", [(one,) for one in removed])
            db.executemany("DELETE FROM build_cache WHERE key = ?", [(key,) for key in keys])
        collect(images, later=later)
    return Freed(images=tuple(removed), cache=tuple(keys), size=size)


def replaced(images: ImageStore) -> Freed:
    """Delete images that lost their last tag to a newer build, once no container uses them, and then collect their blobs and
    layers. The directories of the layers become rubbish, which the caller lets be swept."""
    rows = images.store.db.execute(
        "SELECT id FROM images WHERE replaced_at > 0 AND NOT EXISTS (SELECT 1 FROM tags WHERE image_id = id)"
        " AND NOT EXISTS (SELECT 1 FROM digests WHERE image_id = id)"
        " AND NOT EXISTS (SELECT 1 FROM variants WHERE image_id = id)"
    ).fetchall()
    return prune(images, [row[0] for row in rows], later=True) if rows else Freed()


def trim(images: ImageStore, budget: int, *, preview: bool = False) -> Freed:
    """Delete images until the layers of the others take at most `budget` bytes: those that were pulled, built or tagged
    longest ago. Images that a container uses are kept, and so are those of the last hour, which a build may just have
    pulled.

    With `preview`, nothing is deleted; the result is what would be removed.
    """
    have = holdings(images)
    used, young = containers_using(images.store), time.time() - _YOUNG
    removed: set[str] = set()
    for record in sorted(images.all(), key=lambda record: record.tagged_at):
        kept = set().union(*(layers for image_id, layers in have.images.items() if image_id not in removed))
        if sum(have.sizes.get(layer, 0) for layer in kept) <= budget or record.tagged_at > young:
            break
        if record.id not in used:
            removed.add(record.id)
    return prune(images, sorted(removed), preview=preview) if removed else Freed()


def collect(images: ImageStore, *, later: bool = False) -> Collected | None:
    """Remove unreferenced layers and blobs. None if content is being added at the moment; a later call removes them."""
    with lease.collecting(images.store.roots) as alone:
        if not alone:
            return None
        done = Collected()
        _layers(images, done, later=later)
        _blobs(images, done)
        return done


def _layers(images: ImageStore, done: Collected, *, later: bool) -> None:
    with images.store.transaction(freeing=True) as db:
        marked = {row[0] for row in db.execute("SELECT chain_id FROM image_layers")}
        for (text,) in db.execute("SELECT record FROM build_cache"):
            marked.update(decode_record(text).layers)
        db.execute(f"DELETE FROM layers WHERE NOT {WHOLE}", (boot_id(),))
        rows = db.execute("SELECT chain_id, size FROM layers").fetchall()
        unmarked = [(chain_id, size) for chain_id, size in rows if chain_id not in marked]
        db.executemany("DELETE FROM layers WHERE chain_id = ?", [(chain_id,) for chain_id, _ in unmarked])
        named = {row[0] for row in db.execute("SELECT folder FROM layers")}
    done.layers = len(unmarked)
    done.size += sum(size for _, size in unmarked)
    for folder in images.layers.names():
        if folder not in named:
            images.layers.discard(folder, later=later)


def _blobs(images: ImageStore, done: Collected) -> None:
    db = images.store.db
    marked = {row[0] for row in db.execute("SELECT id FROM images UNION SELECT blob FROM layers")}
    marked.update(row[0].partition("@")[2] for row in db.execute("SELECT reference FROM digests"))
    for name in images.blobs.names():
        if f"sha256:{name}" not in marked:
            path = images.blobs.path(name)
            done.size += os.stat(path).st_size
            os.unlink(path)
            done.blobs += 1
    _signatures(images, marked)
    _attached(images, marked)


def _attached(images: ImageStore, marked: set[str]) -> None:
    """Annotations and attestations of images that no longer exist (engine.image.attached)."""
    folder = images.store.roots.attached()
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if f"sha256:{name.partition('.')[0]}" not in marked:
            os.unlink(f"{folder}/{name}")


def _signatures(images: ImageStore, marked: set[str]) -> None:
    """Signatures kept for digests that no image has any longer (engine.trust.evidence)."""
    folder = images.store.roots.signatures
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if f"sha256:{name.partition('.')[0]}" not in marked:
            os.unlink(f"{folder}/{name}")
