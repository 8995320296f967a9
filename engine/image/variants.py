"""Images for several platforms under one name.

A name (tag or digest reference) refers to one image, preferably one that this machine can run. The table `variants` has
those for other platforms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.image import platform as platforms
from engine.image.platform import Platform
from engine.spec.image import ImageRecord, decode_image

if TYPE_CHECKING:
    import sqlite3


def platform_of(record: ImageRecord) -> Platform:
    return platforms.normalised(Platform(record.os, record.architecture, record.variant))


def of(db: sqlite3.Connection, name: str) -> dict[str, str]:
    """Platform → image id."""
    rows = db.execute("SELECT platform, image_id FROM variants WHERE reference = ? ORDER BY platform", (name,))
    return dict(rows.fetchall())


def put(db: sqlite3.Connection, name: str, platform: str, image_id: str) -> None:
    """Make an image a variant of the name, unless it was removed."""
    db.execute(
        "INSERT OR REPLACE INTO variants (reference, platform, image_id) SELECT ?, ?, id FROM images WHERE id = ?",
        (name, platform, image_id),
    )


def is_own(db: sqlite3.Connection, name: str, record: ImageRecord) -> bool:
    """Whether an image from a registry becomes the name's own. The previous one becomes a variant if it is for another
    platform, or keeps the name if this machine runs it rather than `record`.

    A newer image for the same platform replaces the name's variants as well, which may be older.
    """
    table = "digests" if "@" in name else "tags"
    row = db.execute(
        f"SELECT id, record FROM images WHERE id = (SELECT image_id FROM {table} WHERE reference = ?)", (name,)
    ).fetchone()
    mine, here = platform_of(record), platforms.host()
    if row is None or row[0] == record.id:
        db.execute("DELETE FROM variants WHERE reference = ? AND platform = ?", (name, str(mine)))
        return True
    theirs = platform_of(decode_image(row[1]))
    if theirs == mine:
        forget(db, name)
        return True
    if here.runs(theirs) or not here.runs(mine):
        put(db, name, str(mine), record.id)
        return False
    put(db, name, str(theirs), row[0])
    db.execute("DELETE FROM variants WHERE reference = ? AND platform = ?", (name, str(mine)))
    return True


def forget(db: sqlite3.Connection, name: str) -> list[str]:
    """Remove the name's variants; returns their ids."""
    rows = db.execute("DELETE FROM variants WHERE reference = ? RETURNING image_id", (name,)).fetchall()
    return [row[0] for row in rows]


def forget_all(db: sqlite3.Connection, image_id: str) -> list[str]:
    """Remove the variants of all names that refer to this image, and the image from the variants of other names."""
    db.execute("DELETE FROM variants WHERE image_id = ?", (image_id,))
    names = db.execute(
        "SELECT reference FROM tags WHERE image_id = ? UNION SELECT reference FROM digests WHERE image_id = ?",
        (image_id, image_id),
    ).fetchall()
    return [other for (name,) in names for other in forget(db, name)]


def is_nameless(db: sqlite3.Connection, image_id: str) -> bool:
    tables = ("tags", "digests", "variants")
    return not any(db.execute(f"SELECT 1 FROM {one} WHERE image_id = ?", (image_id,)).fetchone() for one in tables)
