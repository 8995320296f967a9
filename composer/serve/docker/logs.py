"""Reading and following a container's log (Docker Engine API 1.55, ContainerLogs)."""

from __future__ import annotations

import datetime
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING

from composer.serve.docker.streaming import while_connected
from composer.serve.docker.streams import MULTIPLEXED, MULTIPLEXED_SINCE, RAW, frames
from composer.serve.http.errors import BadRequest, HTTPError
from composer.view import lookup
from composer.view.api_format import log_details, parse_timestamp
from composer.view.errors import Refusal
from engine.errors import Unsupported
from engine.rfc3339 import nine_digits

if TYPE_CHECKING:
    from composer.run.handles import LogReader
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.state import ContainerRecord, ContainerState
    from engine.spec.stream import LogEntry

STREAMS = {"stdout": 1, "stderr": 2}
_PIECE = 1 << 16
"""Bytes per send."""


def media_type(request: Request, *, tty: bool) -> str:
    return MULTIPLEXED if not tty and request.version >= MULTIPLEXED_SINCE else RAW


async def logs(server: Server, request: Request, exchange: Exchange) -> None:
    record = lookup.container(server.engine, request.arguments["id"])
    wanted = {STREAMS[name] for name in STREAMS if request.flag(name)}
    if not wanted:
        raise BadRequest("Bad parameters: you must choose at least one stream")
    reader = _reader(server, request, record)
    try:
        with server.observer.follow(record) if request.flag("follow") else nullcontext() as follower:
            await exchange.begin(200, {"Content-Type": media_type(request, tty=record.spec.tty)})
            form = Form(record, wanted, timestamps=request.flag("timestamps"), details=request.flag("details"))
            async with while_connected(exchange):
                while True:
                    running = follower is not None and _runs(_state(server, record), record)
                    while entries := reader.read():
                        data = form.bytes_of(_of_run(entries, _state(server, record), record) if follower else entries)
                        for place in range(0, len(data), _PIECE):
                            await exchange.send(data[place : place + _PIECE])
                    if follower is None or not running or _is_over(request):
                        break
                    await follower.changed()
    finally:
        reader.close()


def _is_over(request: Request) -> bool:
    """Whether the time `until` has passed."""
    end = _timestamp(request, "until")
    return end is not None and end <= datetime.datetime.now().timestamp()


def _timestamp(request: Request, name: str) -> float | None:
    try:
        return parse_timestamp(request.query(name))
    except ValueError:
        raise BadRequest(f'invalid value for "{name}": {request.query(name)}') from None


def _reader(server: Server, request: Request, record: ContainerRecord) -> LogReader:
    since, until, tail = _timestamp(request, "since"), _timestamp(request, "until"), request.query("tail")
    try:
        return server.engine.logs(
            record.group,
            record.id,
            since=round((since or 0) * 1e9),
            until=round((until or 0) * 1e9),
            tail=int(tail) if re.fullmatch("[0-9]{1,18}", tail) else None,
        )
    except Unsupported as error:
        raise HTTPError(501, error.message) from None


def _state(server: Server, record: ContainerRecord) -> ContainerState | None:
    """The container's state now, None if it was removed."""
    try:
        return lookup.container(server.engine, record.id).state
    except Refusal:
        return None


def _runs(state: ContainerState | None, record: ContainerRecord) -> bool:
    """Whether the run that a follower asked for goes on: Docker ends the stream at its exit, even if the container is
    restarted."""
    return state is not None and state.status.alive and state.started_at == record.state.started_at


def _of_run(entries: list[LogEntry], state: ContainerState | None, record: ContainerRecord) -> list[LogEntry]:
    """The entries without those of a later run, which began while they were read."""
    if state is None or state.started_at == record.state.started_at:
        return entries
    end = round(state.started_at * 1e9)
    return [entry for entry in entries if entry.time < end]


class Form:
    """Entries as bytes: framed, or raw for a container with a terminal."""

    def __init__(self, record: ContainerRecord, wanted: set[int], *, timestamps: bool, details: bool = False) -> None:
        self._raw, self._wanted, self._timestamps, self._details = record.spec.tty, wanted, timestamps, details

    def bytes_of(self, entries: list[LogEntry]) -> bytes:
        parts = []
        for entry in entries:
            stream = STREAMS[entry.stream]
            if stream not in self._wanted:
                continue
            data = entry.text.encode(errors="surrogateescape")
            if self._details:
                data = log_details(entry.attrs).encode() + b" " + data
            if self._timestamps:
                data = nine_digits(entry.time).encode() + b" " + data
            parts.append(data if self._raw else frames(stream, data))
        return b"".join(parts)
