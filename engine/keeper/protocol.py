"""Frames between a keeper and its clients, over a SOCK_STREAM socket in the run root.

    client                                  keeper
      │  {"do": "create", "id", "bundle"}     │  bundle: path of bundle.json
      │ ────────────────────────────────────▶ │
      │        {"re": n, "pid", "pid_start"}  │  with the descriptors of `terminal`, except a pseudo-terminal
      │ ◀──────────────────────────────────── │
      │  {"do": "start", "id"}                │  answered when the program was executed, or has failed to
      │  {"do": "failure", "id"}              │  why the process died before `start`; empty if it did not
      │  {"do": "signal", "id", "signal"}     │
      │  {"do": "sockets", "id"}              │  the answer has the DNS sockets: UDP, TCP
      │  {"do": "terminal", "id"}             │  the answer has the pseudo-terminal's master, or the read ends of
      │                                       │  stdout and stderr; a client that keeps them preserves unread
      │                                       │  output when the keeper dies
      │  {"do": "exec", "id", "process",      │  "streams": [[0], [1, 2]] requests a pipe for stdin and one for both
      │   "tty", "privileged", "streams"}     │  outputs; the answer has a pidfd, then the master or our end of each
      │                                       │  pipe. No descriptor of a client enters a container
      │        {"event": "exec", "n", "exit_code"} when the process has exited
      │  {"do": "attach", "id", "stdin"}      │  the answer has a socket that carries output and input; when the
      │                                       │  process has exited, the exit event follows
      │  {"do": "resize", "id", "rows", "columns"}
      │  {"do": "list"}                       │  the answer lists containers with pid, pid_start, alive
      │  {"do": "adopt", "id", "bundle", "pid", "pid_start"} with a pidfd and the descriptors of `terminal`, if known
      │  {"do": "watch"}                      │  from now on: {"event": "exit", "id", "exit": {…}} for each exit
      │  {"do": "supervise", "argv", "env"}   │  start this program if the supervisor disconnects without `goodbye`
      │  {"do": "hold", "wanted"}             │  do so even while no container is alive
      │  {"do": "goodbye"}                    │  the supervisor exits on purpose
      │  {"do": "leave"}                      │  exit; refused while a container is alive
      │  {"do": "own"}                        │  when this client disconnects, kill all containers and exit (builds)

Each request has "n", chosen by the client (0: no answer is wanted). The answer has the same number as "re", and after a
failure "error", with "errno" and "exit_code" where they apply. A frame is a 4-byte big-endian length and that many bytes
of JSON. Descriptors are sent by SCM_RIGHTS with the first byte of a frame, and "fds" is their number, because one read
may return several frames.
"""

from __future__ import annotations

import array
import errno
import json
import os
import select
import socket
import struct
from collections import deque

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

Message: TypeAlias = "dict[str, Any]"

VERSION = "3"
"""The version of these messages and of bundle.json. Increase it when their meaning changes. A session replaces a
keeper of another version; before that it sends only `terminal`, which every version answers.
"""

MAX_FRAME = 16 * 1024 * 1024
MAX_WAITING = 16 * 1024 * 1024
"""Bytes queued for a peer before we disconnect it."""
MAX_DESCRIPTORS = 8
MAX_HELD = 64
"""Descriptors received for frames that are not complete yet."""
PATIENCE = 1.0
"""Seconds to wait for a peer that does not read."""
SILENCE = 2.0
"""Seconds without an answer after which we first check that the peer is alive."""

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class Channel:
    """Frames on one connected stream socket, blocking or not, with a buffer for incomplete ones."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()
        self._descriptors: list[int] = []
        self._outgoing: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self.waiting = 0
        """Bytes posted but not yet sent."""

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Mapping[str, object], descriptors: tuple[int, ...] = ()) -> None:
        """Send one whole frame. A peer that has not read it within PATIENCE causes TimeoutError."""
        frame = memoryview(framed(message, descriptors))
        extra = _rights(descriptors)
        sent = 0
        while sent < len(frame):
            try:
                sent += self.sock.sendmsg([frame[sent:]], extra if sent == 0 else [], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(self.sock, select.POLLOUT)
                if not waiting.poll(PATIENCE * 1000):
                    raise TimeoutError("the peer does not read its messages") from None

    def post(self, message: Mapping[str, object], descriptors: tuple[int, ...] = ()) -> bool:
        """Send on a non-blocking socket without waiting: False when some of it waits for `flush`. Raises OSError when the peer
        is gone, or has more than MAX_WAITING bytes unread."""
        frame = memoryview(framed(message, descriptors))
        self._outgoing.append((frame, tuple(os.dup(fd) for fd in descriptors)))
        self.waiting += len(frame)
        if self.waiting > MAX_WAITING:
            raise TimeoutError("the peer does not read its messages")
        return self.flush()

    def flush(self) -> bool:
        """Whether everything queued has been sent."""
        while self._outgoing:
            frame, descriptors = self._outgoing[0]
            try:
                sent = self.sock.sendmsg([frame], _rights(descriptors), socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            for fd in descriptors:
                os.close(fd)
            self.waiting -= sent
            if sent < len(frame):
                self._outgoing[0] = frame[sent:], ()
            else:
                self._outgoing.popleft()
        return True

    def feed(self) -> bool:
        """Read available data into the buffer; False at the end of the stream. Raises BlockingIOError when there is none,
        OSError EMFILE when this process may not open the descriptors that came, ValueError for invalid data."""
        size = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)
        data, ancillary, flags, _ = self.sock.recvmsg(65536, size, socket.MSG_CMSG_CLOEXEC)
        arrived = 0
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) - len(payload) % 4])
                self._descriptors.extend(numbers)
                arrived += len(numbers)
        if flags & socket.MSG_CTRUNC and arrived < MAX_DESCRIPTORS:  # there was room: the kernel could not open them
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if len(self._descriptors) > MAX_HELD:
            raise ValueError("more descriptors than any frame takes")
        self._buffer += data
        return bool(data)

    def take(self) -> tuple[Message, list[int]] | None:
        """The next complete frame and its descriptors, which the caller then owns. Raises ValueError for invalid data."""
        if len(self._buffer) < 4:
            if not self._buffer and self._descriptors:
                raise ValueError("descriptors that belong to no frame")
            return None
        (length,) = struct.unpack_from(">I", self._buffer)
        if length > MAX_FRAME:
            raise ValueError(f"a frame of {length} bytes")
        if len(self._buffer) < 4 + length:
            return None
        try:
            message = json.loads(self._buffer[4 : 4 + length].decode("utf-8", "surrogatepass"))
        except RecursionError:
            raise ValueError("a frame that is nested too deeply") from None
        if not isinstance(message, dict):
            raise ValueError("a frame that is not an object")
        count = message.pop("fds", 0)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= len(self._descriptors):
            raise ValueError(f"a frame with {count!r} descriptors, but only {len(self._descriptors)} arrived")
        del self._buffer[: 4 + length]
        descriptors, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return message, descriptors

    def receive(self, silent: Callable[[], None] | None = None) -> tuple[Message, list[int]] | None:
        """Wait for the next frame on a blocking socket; None at the end of the stream. `silent` is called while nothing
        arrives: first after SILENCE seconds, then ever more rarely."""
        while (found := self.take()) is None:
            if silent is not None:
                self._listen(silent)
            if not self.feed():
                return None
        return found

    def _listen(self, silent: Callable[[], None]) -> None:
        waiting = select.poll()
        waiting.register(self.sock, select.POLLIN)
        pause = SILENCE
        while not waiting.poll(pause * 1000):
            silent()
            pause = min(2 * pause, 60.0)

    def close(self) -> None:
        for fd in (*self._descriptors, *(fd for _, descriptors in self._outgoing for fd in descriptors)):
            os.close(fd)
        self._descriptors.clear()
        self._outgoing.clear()
        self.sock.close()


def framed(message: Mapping[str, object], descriptors: tuple[int, ...] = ()) -> bytes:
    """The message as sent over the socket, with the number of its descriptors."""
    if descriptors:
        message = {**message, "fds": len(descriptors)}
    data = _ENCODE(message).encode()
    return struct.pack(">I", len(data)) + data


def _rights(descriptors: tuple[int, ...]) -> list[tuple[int, int, array.array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
