"""gRPC over HTTP/2 (grpc.io, "gRPC over HTTP2") on a raw stream, as server and as client; the frames are h2's.

    raw ─▶ h2 ─▶ Call (one HTTP/2 stream): messages in, messages out, a status at the end

Data that a call has not read is not acknowledged, so that the sender waits (RFC 9113 section 5.2).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote

import anyio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from composer.serve.change_signal import ChangeSignal
from composer.serve.http.errors import ClientGone

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

UNKNOWN, INVALID, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE = 2, 3, 5, 12, 14
WINDOW = 4 << 20
"""Bytes that the other side may send ahead: enough that it does not wait for us at every message."""
MAX_MESSAGE = 32 << 20
"""Size limit of a message in bytes; BuildKit's messages have at most 16 MiB."""


class Failed(Exception):
    """A call that ends with a status other than OK."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Call:
    """One call. `metadata` has its request headers, `headers` also those that occur several times."""

    def __init__(self, peer: Peer, number: int, metadata: Sequence[tuple[str, str]]) -> None:
        self._peer, self.number, self.metadata = peer, number, dict(metadata)
        self.headers = tuple(metadata)
        self._parts: deque[tuple[bytes, int]] = deque()
        self._buffer = bytearray()
        self._change = ChangeSignal()
        self.ended = False
        self._failure: Failed | None = None
        self._begun = False
        self.scope: anyio.CancelScope | None = None

    @property
    def path(self) -> str:
        return self.metadata.get(":path", "")

    # ── called by the peer's loop ────────────────────────────────────────────────────────────────────────────────

    def arrived(self, data: bytes, length: int) -> None:
        self._parts.append((data, length))
        self.wake()

    def over(self, headers: Mapping[str, str] | None = None) -> None:
        if headers is not None and headers.get("grpc-status", "0") != "0":
            message = unquote(headers.get("grpc-message", ""))
            status = headers["grpc-status"]
            self._failure = Failed(int(status) if status.isdecimal() else UNKNOWN, message)
        self.ended = True
        self.wake()

    def reset(self) -> None:
        self._failure = self._failure or Failed(UNAVAILABLE, "the peer has ended the call")
        self.ended = True
        self.wake()
        if self.scope is not None:
            self.scope.cancel()

    def wake(self) -> None:
        self._change.notify()

    async def _wait(self) -> None:
        """Wait for a change, for concurrent senders and receivers."""
        await self._change.wait()

    # ── called by handlers ──────────────────────────────────────────────────────────────────────────────────────

    async def receive(self) -> bytes | None:
        """The next message; None at the end of the stream. Raises Failed, ClientGone."""
        while True:
            if len(self._buffer) >= 5:
                size = int.from_bytes(self._buffer[1:5], "big")
                if self._buffer[0] or size > MAX_MESSAGE:
                    raise Failed(UNIMPLEMENTED, "compressed or oversized messages are not supported")
                if len(self._buffer) >= 5 + size:
                    found = bytes(self._buffer[5 : 5 + size])
                    del self._buffer[: 5 + size]
                    return found
            if self._parts:
                # Take all buffered messages at once: a list of files has one for each file.
                parts, self._parts = self._parts, deque()
                self._buffer += b"".join(data for data, _ in parts)
                await self._peer.acknowledge(self.number, sum(length for _, length in parts))
            elif self.ended:
                if self._failure is not None:
                    raise self._failure
                return None
            else:
                await self._wait()

    async def send(self, data: bytes) -> None:
        """Send a message; waits for the peer's window. Raises Failed, ClientGone."""
        if not self._begun:
            self._begun = True
            await self._peer.begin(self)
        rest = memoryview(b"\0" + len(data).to_bytes(4, "big") + data)
        while rest:
            room = self._peer.room(self)
            if room <= 0:
                await self._wait()
                if self._failure is not None:
                    raise self._failure
                continue
            await self._peer.data(self.number, bytes(rest[:room]))
            rest = rest[room:]

    async def finish(self, status: int = 0, message: str = "") -> None:
        """End a call that we serve."""
        headers = [("grpc-status", str(status)), ("grpc-message", quote(message, safe=" /:;,.'\"()[]{}=<>@#*+!?$&"))]
        if not self._begun:
            headers = [(":status", "200"), ("content-type", "application/grpc"), *headers]
        await self._peer.trailers(self.number, headers)

    async def close(self) -> None:
        """Half-close a call that we made."""
        await self._peer.half_close(self.number)


Handler = Callable[[Call], Awaitable[None]]


class Stream(Protocol):
    """A two-way stream of bytes; both raise ClientGone."""

    async def receive(self) -> bytes:
        """b"" when the other side has closed."""
        ...

    async def send(self, data: bytes) -> None: ...


@contextlib.contextmanager
def _while_open() -> Iterator[None]:
    """ClientGone when the other side has ended the stream or the connection."""
    try:
        yield
    except ProtocolError:
        raise ClientGone from None


class Peer:
    """One end of a connection. `handler` answers calls; without it, this end makes calls."""

    def __init__(self, raw: Stream, handler: Handler | None = None) -> None:
        self._raw, self._handler = raw, handler
        config = H2Configuration(client_side=handler is None, header_encoding="utf-8", validate_inbound_headers=False)
        self._h2 = H2Connection(config)
        self._h2.local_settings = Settings(
            client=handler is None, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: WINDOW}
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW)
        self._calls: dict[int, Call] = {}
        self._sending = anyio.Lock()
        self.closed = anyio.Event()

    async def run(self) -> None:
        """Serve the connection until it ends."""
        async with anyio.create_task_group() as tasks:
            try:
                await self._flush()
                while data := await self._raw.receive():
                    for event in self._h2.receive_data(data):
                        self._take(event, tasks)
                    await self._flush()
            except (ProtocolError, ClientGone):
                pass
            finally:
                self.closed.set()
                for call in list(self._calls.values()):
                    call.reset()
                tasks.cancel_scope.cancel()

    def _take(self, event: object, tasks: TaskGroup) -> None:
        number = getattr(event, "stream_id", None)
        if isinstance(event, RequestReceived) and self._handler is not None:
            call = Call(self, event.stream_id, [(str(name), str(value)) for name, value in event.headers])
            self._calls[call.number] = call
            tasks.start_soon(self._answer, call)
        elif isinstance(event, WindowUpdated) and not number:
            for call in self._calls.values():
                call.wake()
        elif (found := self._calls.get(number or 0)) is not None:
            if isinstance(event, DataReceived):
                found.arrived(event.data, event.flow_controlled_length)
            elif isinstance(event, ResponseReceived | TrailersReceived):
                headers = {str(name): str(value) for name, value in event.headers}
                if "grpc-status" in headers:
                    found.over(headers)
            elif isinstance(event, StreamEnded):
                found.over()
            elif isinstance(event, StreamReset):
                found.reset()
            elif isinstance(event, WindowUpdated):
                found.wake()

    async def _answer(self, call: Call) -> None:
        assert self._handler is not None
        call.scope = anyio.CancelScope()
        try:
            with call.scope:
                try:
                    await self._handler(call)
                except Failed as error:
                    await call.finish(error.status, error.message)
                else:
                    await call.finish()
        except (ClientGone, ProtocolError):
            pass
        finally:
            self._calls.pop(call.number, None)

    async def call(self, path: str, metadata: Sequence[tuple[str, str]] = ()) -> Call:
        """Begin a call. Raises ClientGone when the connection is closed."""
        if self.closed.is_set():
            raise ClientGone
        number = self._h2.get_next_available_stream_id()
        headers = [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
            ("content-type", "application/grpc"), ("te", "trailers"), *metadata,
        ]  # fmt: skip
        self._h2.send_headers(number, headers)
        call = self._calls[number] = Call(self, number, headers)
        call._begun = True
        await self._flush()
        return call

    async def ask(self, path: str, message: bytes, metadata: Sequence[tuple[str, str]] = ()) -> bytes:
        """A unary call. Raises Failed, ClientGone."""
        call = await self.call(path, metadata)
        await call.send(message)
        await call.close()
        answer = await call.receive()
        while await call.receive() is not None:
            pass
        self._calls.pop(call.number, None)
        return answer or b""

    def room(self, call: Call) -> int:
        with _while_open():
            return min(self._h2.local_flow_control_window(call.number), self._h2.max_outbound_frame_size)

    async def begin(self, call: Call) -> None:
        with _while_open():
            self._h2.send_headers(call.number, [(":status", "200"), ("content-type", "application/grpc")])
        await self._flush()

    async def data(self, number: int, data: bytes) -> None:
        with _while_open():
            self._h2.send_data(number, data)
        await self._flush()

    async def trailers(self, number: int, headers: Sequence[tuple[str, str]]) -> None:
        with _while_open():
            self._h2.send_headers(number, headers, end_stream=True)
        await self._flush()

    async def half_close(self, number: int) -> None:
        with _while_open():
            self._h2.end_stream(number)
        await self._flush()

    async def cancel(self, call: Call) -> None:
        self._calls.pop(call.number, None)
        if not self.closed.is_set():
            try:
                self._h2.reset_stream(call.number, ErrorCodes.CANCEL)
                await self._flush()
            except ProtocolError:
                return

    async def acknowledge(self, number: int, length: int) -> None:
        if length:
            try:
                self._h2.acknowledge_received_data(length, number)
            except ProtocolError:
                return
            await self._flush()

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._h2.data_to_send():
                await self._raw.send(data)
