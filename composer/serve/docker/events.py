"""Events as a stream of JSON lines (Docker Engine API 1.55, SystemEvents)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from composer.serve.docker.streaming import while_connected
from composer.serve.http.errors import BadRequest
from composer.view.api_format import parse_timestamp
from composer.view.filters import Filters

if TYPE_CHECKING:
    from composer.serve.docker.event_journal import Event
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server

FILTERS = (
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret", "service",
    "type", "volume",
)  # fmt: skip
_NAMED = ("container", "network", "volume", "daemon", "plugin", "service", "node", "secret", "config")
"""Filters that match objects of their own type."""


async def events(server: Server, request: Request, exchange: Exchange) -> None:
    """Send the headers at once, then remembered events since `since`, then new ones, until `until` or the client
    disconnects."""
    filters = Filters.of_json(request.query("filters"), FILTERS, strict=False)
    since, until = _timestamp(request, "since"), _timestamp(request, "until")
    if since is not None and until is not None and since > until:
        raise BadRequest(f"`since` time ({since:.0f}) cannot be after `until` time ({until:.0f})")
    media = "application/jsonl" if "jsonl" in request.headers.get("accept", "") else "application/json"
    follower = server.journal.follow()
    try:
        history = server.journal.history() if since is not None or until is not None else []
        await exchange.begin(200, {"Content-Type": media})
        async with while_connected(exchange):
            for event in history:
                at = event["timeNano"] / 1e9
                if (since is None or at >= since) and (until is None or at <= until) and fits(filters, event):
                    await exchange.send(msgspec.json.encode(event) + b"\n")
            with anyio.move_on_after(None if until is None else max(0.0, until - time.time())):
                while True:
                    event = await follower.next()
                    if fits(filters, event):
                        await exchange.send(msgspec.json.encode(event) + b"\n")
    finally:
        follower.close()


def _timestamp(request: Request, name: str) -> float | None:
    text = request.query(name)
    try:
        return 0.0 if text == "0" else parse_timestamp(text)
    except ValueError:
        raise BadRequest(f'failed to parse value as time or duration: "{text}"') from None


def fits(filters: Filters, event: Event) -> bool:
    """Whether an event matches all filters."""
    attributes: dict[str, Any] = event["Actor"]["Attributes"]
    names = (event["Actor"]["ID"], attributes.get("name", ""))
    action = event["Action"]
    return (
        filters.any("type", lambda value: value == event["Type"])
        and filters.any("event", lambda value: value in (action, action.partition(":")[0]))
        and filters.any("scope", lambda value: value == event["scope"])
        and filters.labels(attributes)
        and filters.any("image", lambda value: _is_image(event, value))
        and all(
            filters.any(kind, lambda value: any(one == value or one.startswith(value) for one in names if value))
            for kind in _NAMED
        )
    )


def _is_image(event: Event, wanted: str) -> bool:
    attributes = event["Actor"]["Attributes"]
    name = attributes.get("name" if event["Type"] == "image" else "image", "")
    bare = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    return wanted in (event["Actor"]["ID"], name, bare)
