"""Names of containers: unique in the whole engine, written to the database before the directory exists."""

from __future__ import annotations

import os
import sqlite3

from engine.errors import Conflict
from engine.store import Store


def new_id() -> str:
    """64 hex digits, as Docker's container ids."""
    return os.urandom(32).hex()


def claim(store: Store, container_id: str, name: str, group: str, image_id: str) -> None:
    """Take `name` for `container_id`. Raises Conflict naming the holder."""
    try:
        with store.transaction() as db:
            db.execute(
                "INSERT INTO containers (id, name, container_group, image_id) VALUES (?, ?, ?, ?)",
                (container_id, name, group, image_id),
            )
    except sqlite3.IntegrityError as error:
        row = store.db.execute("SELECT id, container_group FROM containers WHERE name = ?", (name,)).fetchone()
        holder = f" by container {row[0][:12]} of {row[1]}" if row else ""
        raise Conflict(
            f'the container name "{name}" is already in use{holder}', hint="Remove or rename that container first."
        ) from error


def rename(store: Store, container_id: str, name: str) -> None:
    """Give the container another name. Raises Conflict when it is taken."""
    try:
        with store.transaction() as db:
            db.execute("UPDATE containers SET name = ? WHERE id = ?", (name, container_id))
    except sqlite3.IntegrityError as error:
        raise Conflict(f'the container name "{name}" is already in use') from error


def release(store: Store, container_id: str) -> None:
    """Release the name; no error if there is none."""
    with store.transaction(freeing=True) as db:
        db.execute("DELETE FROM containers WHERE id = ?", (container_id,))


def find(store: Store, name: str) -> tuple[str, str] | None:
    """Id and group of the container with this id, its first twelve digits or more, or this name."""
    row = store.db.execute(
        "SELECT id, container_group FROM containers WHERE name = ?1 OR id = ?1"
        " OR (length(?1) >= 12 AND substr(id, 1, length(?1)) = ?1) ORDER BY name != ?1",
        (name,),
    ).fetchone()
    return (row[0], row[1]) if row else None


def exact(store: Store, name: str) -> list[tuple[str, str, str]]:
    """Id, group and name of the container with this name, and then of the one with this id."""
    rows = store.db.execute(
        "SELECT id, container_group, name FROM containers WHERE name = ?1 OR id = ?1 ORDER BY name != ?1", (name,)
    )
    return rows.fetchall()


def names(store: Store, group: str) -> dict[str, str]:
    """Container id → current name, for the whole group (a rename does not rewrite spec.json)."""
    rows = store.db.execute("SELECT id, name FROM containers WHERE container_group = ?", (group,))
    return {row[0]: row[1] for row in rows}
