"""Records of the build cache: which ones a listing or a prune means (Docker Engine API 1.55, BuildPrune)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from composer.view.filters import Filters
    from engine.spec.image import CacheEntry

FILTERS = ("description", "id", "inuse", "shared", "until")


def chosen(entries: Sequence[CacheEntry], filters: Filters) -> list[CacheEntry]:
    """The records that fit. Refusal."""
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
    """Those used longest ago, of which the others are within `keep` bytes; `entries` are those used last first."""
    total, over = 0, []
    for entry in entries:
        total += entry.size
        if total > keep:
            over.append(entry)
    return over
