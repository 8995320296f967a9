"""Changes, made by the supervisor of a group: containers of a project belong to its own, all others to one of the API's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from anyio import to_thread

from composer.plan.labels import PROJECT
from composer.plan.options import Options
from composer.run.client import Client
from composer.run.protocol import End, Request
from composer.serve.errors import failed

if TYPE_CHECKING:
    from composer.plan.operations import Change
    from composer.serve.server import Server

CAUSE = "asked for through the Docker API"
"""The cause of each operation."""
GROUP = "_docker"
"""The group of containers that belong to no project: no project can have this name (compose-spec, name)."""


def group_of(labels: Mapping[str, str]) -> str:
    """Where a container, network or volume with these labels belongs."""
    return labels.get(PROJECT) or GROUP


async def perform(server: Server, group: str, *operations: Change) -> str:
    """Have the group's supervisor do it; the id of a container that was made. HTTPError for the first failure.

    It is done to its end even when the client goes.
    """

    def ask() -> str:
        client = Client(server.roots, group, server.environ)
        try:
            return _end(client, operations)
        finally:
            client.close()

    return await to_thread.run_sync(ask)


def _end(client: Client, operations: Sequence[Change]) -> str:
    for event in client.perform(Request(options=Options(action="api"), operations=tuple(operations))):
        if isinstance(event, End):
            if event.failures:
                failure = event.failures[0]
                raise failed(failure.error, failure.message.partition("\n")[0])
            return event.container_id
    raise AssertionError("events without an end")
