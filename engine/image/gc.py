"""Removing what nothing refers to: mark from images (which tags, containers or a build keep) and the build cache,
then sweep.

Safe at any time: nothing is removed while somebody adds content (engine.image.lease), and what a crash left (drafts,
partial blobs, folders without a row) goes as well.
"""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct

from engine.image import lease
from engine.image.images import ImageStore
from engine.image.uses import containers_using


class _CacheRecord(Struct):
    """The part of a build cache record that counts here (engine.build.cache)."""

    layers: list[str] = []


_decode = msgspec.json.Decoder(_CacheRecord).decode


class Collected(Struct):
    """What was removed: layers, blobs, and the bytes of both."""

    layers: int = 0
    blobs: int = 0
    size: int = 0


def prune(images: ImageStore, *, all_unused: bool = False) -> list[str]:
    """Delete images without a tag, or with `all_unused` all that no container uses; gives their ids. Then collect."""
    used = containers_using(images.store)
    gone: list[str] = []
    for record in images.all():
        if record.id not in used and (all_unused or not record.tags):
            with images.store.transaction(freeing=True) as db:
                db.execute("DELETE FROM images WHERE id = ?", (record.id,))
            gone.append(record.id)
    collect(images)
    return gone


def collect(images: ImageStore) -> Collected | None:
    """Remove unreferenced layers and blobs. None when somebody is adding content just now: a later call does it."""
    with lease.collecting(images.store.roots) as alone:
        if not alone:
            return None
        done = Collected()
        _layers(images, done)
        _blobs(images, done)
        return done


def _layers(images: ImageStore, done: Collected) -> None:
    with images.store.transaction(freeing=True) as db:
        marked = {row[0] for row in db.execute("SELECT chain_id FROM image_layers")}
        for (text,) in db.execute("SELECT record FROM build_cache"):
            marked.update(_decode(text).layers)
        rows = db.execute("SELECT chain_id, size FROM layers").fetchall()
        unmarked = [(chain_id, size) for chain_id, size in rows if chain_id not in marked]
        db.executemany("DELETE FROM layers WHERE chain_id = ?", [(chain_id,) for chain_id, _ in unmarked])
        named = {row[0] for row in db.execute("SELECT folder FROM layers")}
    done.layers = len(unmarked)
    done.size += sum(size for _, size in unmarked)
    for folder in images.layers.names():
        if folder not in named:
            images.layers.discard(folder)


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
