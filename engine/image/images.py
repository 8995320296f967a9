"""The images in the store: recording, tagging, finding, listing and removing them. Reading one by its id takes one row of
SQLite and one small JSON document."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from engine.errors import Conflict, NotFound
from engine.image import platform as platforms
from engine.image import reference as references
from engine.image import variants
from engine.spec.image import ImageRecord, decode_image
from engine.store import Store
from engine.vocabulary import DIGEST

_decode_names = msgspec.json.Decoder(list[str]).decode

if TYPE_CHECKING:
    import sqlite3

    from engine.image.blobs import BlobStore
    from engine.image.config import ImageFile
    from engine.image.layers import Layer, LayerStore

RECENT = 600.0
"""Seconds after which another use of an image or of the build cache is recorded. A transaction is the largest part of a
cached build on a disk."""
_ID = re.compile(rf"{DIGEST}\Z")
_SHORT_ID = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})\Z")


class ImageStore:
    """Images, with the `blobs` and `layers` that they consist of. Like a Store, for one thread only."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @cached_property
    def blobs(self) -> BlobStore:
        from engine.image.blobs import BlobStore

        return BlobStore(self.store.roots)

    @cached_property
    def layers(self) -> LayerStore:
        from engine.image.layers import LayerStore

        return LayerStore(self.store)

    # -- reading

    def get(self, name: str) -> ImageRecord | None:
        """The image with this id (or a prefix of it), tag or digest reference; None when there is none. `redis:7 linux/arm64`
        (engine.spec.image.for_platform) is the one for that platform. Raises BadReference for an invalid name, InvalidSpec
        for a platform, Conflict when a short id is ambiguous."""
        if " " in name:
            return self._variant(*name.split(" ", 1))
        image_id = name if _ID.match(name) else self._by_reference(name)
        if not image_id:
            image_id = self._by_short_id(name)
        return self._load(image_id) if image_id else None

    def need(self, name: str) -> ImageRecord:
        """Like `get`, but raises NotFound."""
        if (found := self.get(name)) is None:
            raise NotFound("image", name, hint="Pull or build it first.")
        return found

    def all(self) -> list[ImageRecord]:
        """All images, the newest first."""
        ids = [row[0] for row in self.store.db.execute("SELECT id FROM images")]
        found = [record for image_id in ids if (record := self._load(image_id))]
        return sorted(found, key=lambda record: (-record.created_at, record.id))

    def file(self, image_id: str) -> ImageFile:
        """The whole configuration blob, verified, with history and diff_ids. Raises NotFound, Corrupt."""
        from engine.image import config as image_config

        return image_config.decode(self.blobs.read(image_id), image_id)

    def is_built(self, image_id: str) -> bool:
        """Whether the image was built or committed here."""
        row = self.store.db.execute("SELECT built FROM images WHERE id = ?", (image_id,)).fetchone()
        return bool(row and row[0])

    def chain(self, image_id: str) -> list[str]:
        """The chain ids of an image's layers, lowest first."""
        rows = self.store.db.execute(
            "SELECT chain_id FROM image_layers WHERE image_id = ? ORDER BY position", (image_id,)
        )
        return [row[0] for row in rows]

    def sharing(self, image_id: str) -> list[str]:
        """The other images with a layer of this image."""
        rows = self.store.db.execute(
            "SELECT DISTINCT other.image_id FROM image_layers AS own JOIN image_layers AS other USING (chain_id)"
            " WHERE own.image_id = ? AND other.image_id != own.image_id",
            (image_id,),
        )
        return [row[0] for row in rows]

    def _variant(self, name: str, platform: str) -> ImageRecord | None:
        """The image of that name for a platform: one of the name's variants, or its own image if that is for the
        platform."""
        references.parse(name)  # for what it raises
        wanted = platforms.parse(platform)
        if not references.is_id(name):
            for text, image_id in self.variants(name).items():
                if wanted.runs(platforms.parse(text)):
                    return self._load(image_id)
        record = self.get(name)
        return record if record and (not record.architecture or wanted.runs(variants.platform_of(record))) else None

    def variants(self, name: str) -> dict[str, str]:
        """The variants of a tag or digest reference for other platforms: platform → id."""
        return variants.of(self.store.db, _full(name))

    def _by_reference(self, name: str) -> str:
        if _SHORT_ID.match(name) and len(name) >= 64:
            return ""
        if "@" in name:
            parsed = references.parse(name)
            wanted = f"{parsed.name}@{parsed.digest}"
            row = self.store.db.execute("SELECT image_id FROM digests WHERE reference = ?", (wanted,)).fetchone()
        else:
            wanted = references.unchecked(name)
            row = self.store.db.execute("SELECT image_id FROM tags WHERE reference = ?", (wanted,)).fetchone()
            if row is None:
                references.parse(name)  # for what it raises
        return row[0] if row else ""

    def _by_short_id(self, name: str) -> str:
        match = _SHORT_ID.match(name)
        if not match:
            return ""
        prefix = f"sha256:{match[1]}"
        # Hex digits sort below "g", so this is a range over the primary key.
        rows = self.store.db.execute(
            "SELECT id FROM images WHERE id >= ? AND id < ?", (prefix, prefix + "g")
        ).fetchall()
        if len(rows) > 1:
            raise Conflict(f"the image id {name} is ambiguous", hint="Give more of its digits.")
        return rows[0][0] if rows else ""

    def _load(self, image_id: str) -> ImageRecord | None:
        row = self.store.db.execute(
            "SELECT record, (SELECT json_group_array(reference) FROM (SELECT reference FROM tags WHERE image_id = id"
            " UNION SELECT reference FROM variants WHERE image_id = id AND reference NOT LIKE '%@%')),"
            " (SELECT json_group_array(reference) FROM (SELECT reference FROM digests WHERE image_id = id"
            " UNION SELECT reference FROM variants WHERE image_id = id AND reference LIKE '%@%')),"
            " (SELECT max(tagged_at) FROM tags WHERE image_id = id) FROM images WHERE id = ?",
            (image_id,),
        ).fetchone()
        if row is None:
            return None
        record = decode_image(row[0])
        tags, digests = (tuple(sorted(_decode_names(text))) for text in row[1:3])
        if not tags and not digests:
            return record
        return msgspec.structs.replace(record, tags=tags, digests=digests, tagged_at=row[3] or 0.0)

    # -- changing

    def record(
        self,
        file: bytes,
        chain_ids: Sequence[str],
        *,
        tags: Iterable[str] = (),
        digests: Iterable[str] = (),
        replaces: bool = False,
        built: bool = False,
    ) -> ImageRecord:
        """Record the image whose configuration blob is `file` and whose layers are in the store; tag it in the same
        step.

        Idempotent. `tags` and `digests` are references; a tag moves from the image that had it, unless the new image
        comes from a registry (it has `digests`) and suits this machine less (engine.image.variants). With `replaces`,
        an image that loses its last tag this way is marked for removal (`engine.image.gc.replaced`). `built`: it was
        built here, not fetched or loaded; an image that was built with these tags a moment ago is not recorded again
        (RECENT). Raises NotFound.
        """
        from engine.image import config as image_config

        image_id = self.blobs.add(file)
        image = image_config.decode(file, image_id)
        layers = self.layers.need(chain_ids)
        self.layers.sync()
        record = _record(image_id, image, layers)
        tag_names = [str(references.parse(tag)) for tag in tags]
        if built and not digests and _is_recent(self.store.db, record, tag_names):
            return self.need(image_id)
        with self.store.transaction() as db:
            before: set[str] = set()
            if replaces:
                before = _holders(db, tag_names).union(*(variants.forget(db, tag) for tag in tag_names)) - {image_id}
            _insert(db, record, [layer.chain_id for layer in layers], built=built)
            _name(db, record, tag_names, list(digests))
            db.executemany("UPDATE images SET replaced_at = ? WHERE id = ?", [(time.time(), one) for one in before])
        return self.need(image_id)

    def set_variants(self, name: str, images: Mapping[str, str]) -> None:
        """Make these images (platform → id), and no others, the variants of the reference `name`."""
        with self.store.transaction() as db:
            variants.forget(db, _full(name))
            for platform, image_id in images.items():
                variants.put(db, _full(name), platform, image_id)

    def tag(self, name: str, new: str) -> None:
        """Give the image `name` the tag `new`, taking it from the image that had it. Raises NotFound, BadReference."""
        record = self.need(name)
        parsed = references.parse(new)
        if parsed.digest:
            raise Conflict(f"{new} contains a digest, which a tag cannot")
        others = {} if _SHORT_ID.match(name) else self.variants(name)
        with self.store.transaction() as db:
            done = db.execute(
                "INSERT OR REPLACE INTO tags (reference, image_id, tagged_at) SELECT ?, id, ? FROM images WHERE id = ?",
                (str(parsed), time.time(), record.id),
            )
            if not done.rowcount:
                raise NotFound("image", name, hint="It was removed just now.")
        self.set_variants(str(parsed), others)

    def add_digest(self, image_id: str, name: references.Reference) -> None:
        """Record the digest of the image in a registry. It may have been removed during the push."""
        with self.store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO digests (reference, image_id) SELECT ?, id FROM images WHERE id = ?",
                (str(name), image_id),
            )

    def remove(self, name: str, *, force: bool = False) -> list[str]:
        """Untag an image, and delete it with its last tag; returns lines as `docker rmi` prints them.

        Raises NotFound; Conflict when a container uses it, or when an id has several tags, unless `force`. With `force`, an image
        that a container uses loses its tags but is kept. Its content is removed by the next collection (engine.image.gc).
        """
        record = self.need(name)
        by_id = bool(_SHORT_ID.match(name)) and not self._by_reference_quietly(name)
        parsed = None if by_id else references.parse(name)
        from engine.image.in_use import containers_using

        in_use = containers_using(self.store)
        users = in_use.get(record.id, [])
        others = [tag for tag in record.tags if parsed is None or tag != str(parsed)]
        if by_id and len(record.tags) > 1 and not force:
            raise Conflict(
                f"image {name} has several tags: {', '.join(record.tags)}",
                hint="Remove by tag, or use force to remove them all.",
            )
        last = by_id or not others or (parsed is not None and bool(parsed.digest))
        if last and users and not force:
            raise Conflict(f"image {name} is in use by {', '.join(users)}", hint="Remove the container first.")
        with self.store.transaction(freeing=True) as db:
            removed, variant_ids = _untag(db, record, None if last else parsed)
            lines = [f"Untagged: {references.parse(text).familiar}" for text in removed]
            if last and not users:
                db.execute("DELETE FROM images WHERE id = ?", (record.id,))
                lines.append(f"Deleted: {record.id}")
            for image_id in dict.fromkeys(variant_ids):
                if image_id != record.id and variants.is_nameless(db, image_id) and image_id not in in_use:
                    db.execute("DELETE FROM images WHERE id = ?", (image_id,))
                    lines.append(f"Deleted: {image_id}")
        return lines

    def _by_reference_quietly(self, name: str) -> str:
        return "" if _ID.match(name) else self._by_reference(name)


def _full(name: str) -> str:
    """A reference in the form that the store uses."""
    parsed = references.parse(name)
    return f"{parsed.name}@{parsed.digest}" if parsed.digest else str(parsed)


def _record(image_id: str, image: ImageFile, layers: Sequence[Layer]) -> ImageRecord:
    from engine.image import config as image_config

    return ImageRecord(
        id=image_id,
        config=image_config.execution(image),
        layers=tuple(layer.folder for layer in layers),
        architecture=image.architecture,
        os=image.os,
        variant=image.variant,
        size=sum(layer.size for layer in layers),
        created_at=image_config.timestamp(image.created),
    )


def _insert(db: sqlite3.Connection, record: ImageRecord, chain_ids: Sequence[str], *, built: bool) -> None:
    # If the layers were collected and created again, their directories have changed: replace the record.
    db.execute(
        "INSERT INTO images (id, record, built) VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET record = excluded.record, replaced_at = 0,"
        " built = max(built, excluded.built)",
        (record.id, msgspec.json.encode(record).decode(), int(built)),
    )
    db.executemany(
        "INSERT OR IGNORE INTO image_layers (image_id, position, chain_id) VALUES (?, ?, ?)",
        [(record.id, position, chain_id) for position, chain_id in enumerate(chain_ids)],
    )


def _is_recent(db: sqlite3.Connection, record: ImageRecord, tags: Sequence[str]) -> bool:
    """Whether the image is recorded like this, as built here, and got each of the tags within the last RECENT seconds."""
    found = db.execute("SELECT record, built, replaced_at FROM images WHERE id = ?", (record.id,)).fetchone()
    if found != (msgspec.json.encode(record).decode(), 1, 0):
        return False
    named = "SELECT 1 FROM tags WHERE reference = ? AND image_id = ? AND tagged_at BETWEEN ? AND ?"
    now = time.time()
    return all(
        db.execute(named, (tag, record.id, now - RECENT, now)).fetchone() and not variants.of(db, tag) for tag in tags
    )


def _name(db: sqlite3.Connection, record: ImageRecord, tags: Sequence[str], digests: Sequence[str]) -> None:
    """Point these references at the image; see ImageStore.record."""
    for tag in tags:
        if not digests or variants.is_own(db, tag, record):
            db.execute(
                "INSERT OR REPLACE INTO tags (reference, image_id, tagged_at) VALUES (?, ?, ?)",
                (tag, record.id, time.time()),
            )
        if not digests:
            variants.forget(db, tag)
    for digest in digests:
        if variants.is_own(db, digest, record):
            db.execute("INSERT OR REPLACE INTO digests (reference, image_id) VALUES (?, ?)", (digest, record.id))


def _untag(
    db: sqlite3.Connection, record: ImageRecord, name: references.Reference | None
) -> tuple[list[str], list[str]]:
    """Remove a tag of the image, or all its tags and digests. Returns the removed names, and the ids of their
    variants."""
    if name is None:
        others = variants.forget_all(db, record.id)
        db.execute("DELETE FROM tags WHERE image_id = ?", (record.id,))
        db.execute("DELETE FROM digests WHERE image_id = ?", (record.id,))
        return [*record.tags, *record.digests], others
    others = variants.forget(db, str(name))
    db.execute("DELETE FROM tags WHERE reference = ?", (str(name),))
    return [str(name)], others


def _holders(db: sqlite3.Connection, tags: Iterable[str]) -> set[str]:
    """The images with these tags."""
    rows = (db.execute("SELECT image_id FROM tags WHERE reference = ?", (tag,)).fetchone() for tag in tags)
    return {row[0] for row in rows if row}


def now() -> str:
    """The current time as an image configuration writes it."""
    from engine.image.config import rfc3339

    return rfc3339(time.time())
