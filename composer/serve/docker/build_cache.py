"""Pruning the build cache (Docker Engine API 1.55, BuildPrune)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from composer.serve.http.request import Reply
from composer.view.build_cache import FILTERS, chosen, over
from composer.view.filters import Filters

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.image import Freed


async def prune(server: Server, request: Request, exchange: Exchange) -> Reply:
    """Delete unused records, or with `all` also used ones; with `max-used-space`, only as many as needed."""
    filters = Filters.of_json(request.query("filters"), FILTERS)
    everything = request.flag("all")
    keep = max(request.number(name) or 0 for name in ("max-used-space", "reserved-space", "keep-storage"))

    def work() -> Freed:
        engine = server.open_engine()
        entries = [entry for entry in chosen(engine.store_usage().cache, filters) if everything or not entry.in_use]
        return engine.prune_images((), [entry.key for entry in (over(entries, keep) if keep else entries)])

    freed = await to_thread.run_sync(work)
    server.journal.pruned("builder", freed.size)
    return Reply({"CachesDeleted": [key[:25] for key in freed.cache] or None, "SpaceReclaimed": freed.size})
