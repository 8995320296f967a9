"""The build cache: maps a hash of a step's inputs to the layer that it produced.

A key contains the parent's chain id, so it needs neither file times nor the order of steps. Records are kept after the build
until the collector or `trim` removes them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import msgspec

from engine.image.images import RECENT
from engine.image.layers import WHOLE
from engine.image.usage import CacheRecord, decode_record
from engine.kernel.boot import boot_id
from engine.store import Store

VERSION = 2


def key_of(kind: str, *parts: object) -> str:
    """A key from JSON-able parts."""
    return hashlib.sha256(msgspec.json.encode([VERSION, kind, *parts], order="sorted")).hexdigest()


class BuildCache:
    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> CacheRecord | None:
        """The record, if all its layers still exist."""
        row = self._store.db.execute("SELECT record FROM build_cache WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        record = decode_record(row[0])
        marks = ",".join("?" * len(record.layers))
        count = self._store.db.execute(
            f"SELECT count(*) FROM layers WHERE chain_id IN ({marks}) AND {WHOLE}", (*record.layers, boot_id())
        ).fetchone()[0]
        return record if count == len(set(record.layers)) else None

    def put(self, key: str, layers: Sequence[str], step: str, *, created: float = 0.0) -> CacheRecord:
        """Record the result of a step; `created` is its time, 0 for now."""
        now = time.time()
        record = CacheRecord(layers=tuple(layers), created=created or now, step=step)
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO build_cache (key, record, used_at) VALUES (?, ?, ?)",
                (key, msgspec.json.encode(record).decode(), now),
            )
        return record

    def touch(self, keys: Sequence[str]) -> None:
        """Record that the records were used, in one transaction per build. None is made when their last use is recent
        (engine.image.images.RECENT)."""
        now = time.time()
        marks = ",".join("?" * len(keys))
        wanted = f"SELECT key FROM build_cache WHERE key IN ({marks}) AND used_at NOT BETWEEN ? AND ?"
        if rows := self._store.db.execute(wanted, (*keys, now - RECENT, now)).fetchall():
            with self._store.transaction() as db:
                db.executemany("UPDATE build_cache SET used_at = ? WHERE key = ?", [(now, *row) for row in rows])

    def trim(self, keep_bytes: int) -> int:
        """Remove the least recently used records until the layers that only the cache keeps are within `keep_bytes`. Returns
        how many records were removed; the collector (engine.image.gc) then removes the layers."""
        with self._store.transaction() as db:
            sizes = dict(
                db.execute(
                    "SELECT chain_id, size FROM layers WHERE chain_id NOT IN (SELECT chain_id FROM image_layers)"
                ).fetchall()
            )
            rows = db.execute("SELECT key, record FROM build_cache ORDER BY used_at DESC").fetchall()
            kept: set[str] = set()
            total = 0
            dropped: list[str] = []
            for key, text in rows:
                layers = set(decode_record(text).layers) & sizes.keys()
                total += sum(sizes[layer] for layer in layers - kept)
                if total > keep_bytes:
                    dropped.append(key)
                else:
                    kept |= layers
            db.executemany("DELETE FROM build_cache WHERE key = ?", [(key,) for key in dropped])
        return len(dropped)
