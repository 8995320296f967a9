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


def to_keep(entries: Sequence[CacheEntry], limit: int, reserved: int, wanted_free: int, free: int) -> int | None:
    """The bytes of `entries` that a prune keeps, None if all go: at most `limit`, and as many less as it takes for the file
    system to have `wanted_free` bytes, of which `free` are free already; but never less than `reserved` (0: not given)."""
    if not limit and not reserved and not wanted_free:
        return None
    total = sum(entry.size for entry in entries)
    keep = limit
    if wanted_free > free:
        keep = min(keep or total, total - (wanted_free - free))
    elif wanted_free and not keep:
        keep = total
    return max(keep, reserved, 0)


def over(entries: list[CacheEntry], keep: int) -> list[CacheEntry]:
    """The least recently used entries, without which the others are within `keep` bytes; `entries` begins with the most
    recently used."""
    total, over = 0, []
    for entry in entries:
        total += entry.size
        if total > keep:
            over.append(entry)
    return over
