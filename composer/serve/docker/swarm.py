"""Docker's answers without a swarm and plugins; neither exists here (Docker Engine API 1.55, "Swarm", "Plugins")."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from composer.serve.http.errors import HTTPError
from composer.serve.http.request import Reply

if TYPE_CHECKING:
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.request import Request
    from composer.serve.server import Server

NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try '
    "again."
)


async def absent(server: Server, request: Request, exchange: Exchange) -> NoReturn:
    raise HTTPError(503, NO_MANAGER)


async def leave(server: Server, request: Request, exchange: Exchange) -> NoReturn:
    raise HTTPError(503, "This node is not part of a swarm")


async def enter(server: Server, request: Request, exchange: Exchange) -> NoReturn:
    raise HTTPError(503, "Composer has no swarm mode: this node cannot create or join a swarm")


async def plugins(server: Server, request: Request, exchange: Exchange) -> Reply:
    return Reply([])


async def plugin(server: Server, request: Request, exchange: Exchange) -> NoReturn:
    raise HTTPError(404, f'plugin "{request.arguments["name"]}" not found')


async def no_plugins(server: Server, request: Request, exchange: Exchange) -> NoReturn:
    raise HTTPError(500, "Composer does not support plugins: its drivers are built in")
