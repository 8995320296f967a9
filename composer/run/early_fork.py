"""A fork of a command that has just started, which may become the project's supervisor.

It loads the supervisor's modules while the command reads its files, on another processor: loading them takes longer than
all that the supervisor does to start a container.
"""

from __future__ import annotations

import gc
import importlib
import marshal
import os
import signal
import socket
from collections.abc import Callable, Mapping

import composer.plan.up  # noqa: F401  (the command needs it, too, so it is loaded once)
from composer import compiled
from composer.run import launch
from engine.background import READY, Descriptors
from engine.paths import Roots

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import NoReturn

    from composer.run.port import Engine

MODULES = (
    "logging",
    "subprocess",
    "ssl",
    "asyncio",
    "anyio.to_thread",
    "anyio.streams.tls",
    "anyio._backends._asyncio",
    "engine.keeper.launch",
    "engine.host",
    "composer.run.supervisor",
    "engine.session.session",
)
"""The modules that a supervisor loads, in an order in which each adds little to those before it."""


class EarlyFork:
    """The forked process. It exits with the command unless it has become a supervisor."""

    def __init__(self, open_engine: Callable[[Roots], Engine]) -> None:
        """Raises OSError."""
        self._socket, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _wait(theirs, open_engine)
        theirs.close()

    def supervise(self, roots: Roots, project: str, environ: Mapping[str, str], descriptors: Descriptors) -> None:
        """Make it the supervisor of a project; the caller keeps its descriptors. Raises OSError when it has died."""
        order = marshal.dumps((roots.state, roots.run, project, dict(environ)))
        with self._socket:
            socket.send_fds(self._socket, [len(order).to_bytes(4, "big")], descriptors)
            self._socket.sendall(order)

    def dismiss(self) -> None:
        """End it."""
        self._socket.close()
        os.kill(self._pid, signal.SIGKILL)  # it has done nothing yet
        os.waitpid(self._pid, 0)


def _wait(orders: socket.socket, open_engine: Callable[[Roots], Engine]) -> NoReturn:
    """Run in the child: get ready, and become a supervisor when the command requests one."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)  # the command's output ends when the command does
        os.dup2(orders.detach(), READY)
        compiled.close_from(READY + 1)
        gc.disable()  # loaded modules stay
        with socket.socket(fileno=READY) as sock:
            order = _received(sock)
            if order is not None:
                descriptors, (state, run, project, environ) = order
                sock.detach()
                roots = Roots(state, run)
                launch.live(roots, project, environ, lambda: open_engine(roots), descriptors)
    finally:
        os._exit(0)


def _received(sock: socket.socket) -> tuple[Descriptors, tuple[str, str, str, dict[str, str]]] | None:
    """Load modules until the order arrives, and return it; None if the command has exited."""
    for module in MODULES:
        if _readable(sock):
            break
        importlib.import_module(module)
    head, descriptors, _, _ = socket.recv_fds(sock, 4, 4)
    if not head:
        return None
    rest = int.from_bytes(head, "big")
    parts = []
    while rest and (part := sock.recv(rest)):
        parts.append(part)
        rest -= len(part)
    null, output, errors, ready = descriptors
    return (null, output, errors, ready), marshal.loads(b"".join(parts))


def _readable(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True
