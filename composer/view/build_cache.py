"""Records of the build cache: the selection for a listing or a prune (Docker Engine API 1.55, BuildPrune)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composer.view.filters import Filters
    from engine.spec.image import CacheEntry

FILTERS = ("description", "id", "inuse", "shared", "until")


def chosen(entries: Sequence[CacheEntry], filters: Filters) -> list[CacheEntry]:
    """The records that match. Raises Refusal."""
    until, in_use, shared = filters.before(), filters.boolean("inuse"), filters.boolean("shared")
    return [
        entry
        for entry in entries
        if filters.any("id", entry.key.startswith)
        and filters.any("description", lambda value, entry=entry: value in entry.step)  # type: ignore[misc]
        and (in_use is None or in_use == entry.in_use)
        and (shared is None or shared == entry.shared)
        and (until is None or entry.used_at < until)
    ]


def over(entries: list[CacheEntry], keep: int) -> list[CacheEntry]:
    """The least recently used entries, without which the others are within `keep` bytes; `entries` begins with the most
    recently used."""
    total, over = 0, []
    for entry in entries:
        total += entry.size
        if total > keep:
            over.append(entry)
    return over
