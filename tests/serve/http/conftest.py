"""A connection served in this process, and the client's end of it as a plain socket."""

import contextlib
import socket
import threading

import anyio
import msgspec
import pytest

from composer.serve.http.connection import Connection
from composer.serve.http.errors import HTTPError
from composer.serve.http.request import Reply

OBJECT = msgspec.json.Decoder(dict)


async def answer(request, exchange):
    """The handlers that tests select by path."""
    match request.path:
        case "/echo":
            return Reply(content=await request.content(), headers={"Content-Type": "text/plain"})
        case "/ignore":
            return Reply({"path": request.path})
        case "/refuse":
            raise HTTPError(409, "it is refused")
        case "/stream":
            await exchange.begin(200, {"Content-Type": "application/json"})
            for number in range(3):
                await exchange.send(b"%d\n" % number)
            return None
        case "/raw":
            await request.content()
            raw = await exchange.hijack("application/vnd.docker.raw-stream")
            while data := await raw.receive():
                await raw.send(data.upper())
            await raw.send(b"the end")
            await raw.end()
            return None
        case "/json":
            return Reply(await request.json(OBJECT))
        case "/query":
            return Reply({"a": request.queries("a"), "flag": request.flag("flag"), "number": request.number("n")})
    raise HTTPError(404, "page not found")


@contextlib.contextmanager
def served():
    """A socket whose other end is served until the server closes it."""
    ours, theirs = socket.socketpair()

    async def serve():
        async with await anyio.abc.UNIXSocketStream.from_socket(theirs) as stream:
            await Connection(stream, answer, server="test").serve()

    thread = threading.Thread(target=anyio.run, args=(serve,), daemon=True)
    thread.start()
    ours.settimeout(10)
    with contextlib.closing(ours):
        yield ours
    thread.join(10)
    assert not thread.is_alive(), "the server is still there though its client has gone"


@pytest.fixture
def client():
    with served() as sock:
        yield sock


@pytest.fixture
def ask(client):
    """Send bytes, close our side, and return the whole answer."""

    def send(data):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return everything(client)

    return send


def everything(sock):
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)
