"""The keeper: a group's shim, as containerd-shim or conmon. It creates the group's containers, and owns their output and exit
codes.

Single-threaded, one epoll loop, standard library and engine.kernel only, so simple that it does not crash. main.py starts it;
requests.py lists what clients can request.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import time
from collections.abc import Callable

from engine import control
from engine.errors import EngineError
from engine.keeper import origin
from engine.keeper.attachments import Attachments
from engine.keeper.child import kernel_settings
from engine.keeper.container import Container
from engine.keeper.containers import Containers
from engine.keeper.failures import Failures
from engine.keeper.idleness import Idleness
from engine.keeper.output import Outputs
from engine.keeper.protocol import VERSION, Message
from engine.keeper.reaper import Reaper
from engine.keeper.respawn import Respawn
from engine.keeper.server import Client, Server
from engine.keeper.shipping import Shipping
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.messages import Exit, ExitEvent

LAST_WORDS = 60.0
"""Seconds that attached clients have to read the rest of the output before the keeper exits."""


class Keeper:
    """`handle` executes a request of a client, and owns the descriptors that came with it."""

    def __init__(self, path: str, handle: Callable[[Keeper, Client, Message, list[int]], None]) -> None:
        self.path = path
        self.loop = selectors.EpollSelector()
        self.failures = Failures()
        self.outputs = Outputs()
        self.shipping = Shipping(self.loop)
        self.attachments = Attachments(self.loop)
        self.containers = Containers(self.outputs, self.shipping, self.attachments, self.failures)
        self.reaper = Reaper(self.loop, self.containers, self.shipping, self._ended)
        self.server = Server(self.loop, self.failures, lambda *request: handle(self, *request), self._dropped)
        self.supervisor = Respawn()
        self.idleness = Idleness(self.loop)
        self.leaving = False
        self.held = False
        """Whether the supervisor is needed even without a running container, because it has schedules."""
        self._abandoned = False
        """Whether our owner has disconnected."""

    def run(self, ready: int) -> None:
        """Run the loop. `ready` is a socket that receives a byte when we listen; it is open as long as the process that
        started us may connect."""
        calls.prctl(flags.PR_SET_CHILD_SUBREAPER, 1)
        calls.set_name("composer-keeper")
        origin.forget()
        kernel_settings.raise_descriptors()
        # Garbage collection in a child would write to, and so copy, many pages: freeze the current objects, and collect
        # rarely.
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        gc.enable()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        lock = control.claim(self.path, VERSION)
        if lock is None:
            os.write(ready, b"1")
            return  # another keeper already listens; our starter finds it
        self.server.listen(self.path)
        self.reaper.listen()
        self.loop.register(self.outputs, selectors.EVENT_READ, lambda _: None)
        if ready >= 0:
            self.idleness.expect(ready)
        later = (self._respawn, self.server.tend, self.reaper.tend, self._idle, self.shipping.tend)
        while not self.leaving:
            self._turn(0 if self.outputs.busy or self.server.busy else self._timeout())
            for tend in later:
                self._survive(tend)
        self._leave(lock)

    def _turn(self, timeout: float | None) -> None:
        """Serve every descriptor once. An error on one is logged, and does not stop the keeper."""
        for key, _ in self.loop.select(timeout):
            # An earlier callback of this round may have closed it.
            if key.fd in self.loop.get_map():
                try:
                    key.data(key.fileobj)
                except Exception:
                    self.failures.survive()
        self.server.turn()
        self._survive(self.outputs.turn)

    def _survive(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            self.failures.survive()

    def _timeout(self) -> float | None:
        parts = (self.supervisor, self.server, self.reaper, self.idleness, self.shipping, self.outputs)
        due = [part.due for part in parts if part.due]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _leave(self, lock: int) -> None:
        self.shipping.leave()
        for path in (self.path, control.lock_of(self.path)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        os.close(lock)
        deadline = time.monotonic() + LAST_WORDS
        while self.attachments.parting and (left := deadline - time.monotonic()) > 0:
            self._turn(left)

    # ── callbacks ─────────────────────────────────────────────────────────────────────

    def _dropped(self, client: Client) -> None:
        if client.owns:
            self._abandoned = True
            for container in self.containers.alive.values():
                with contextlib.suppress(EngineError):  # it has exited
                    container.signal(signal.SIGKILL)
            self.leaving = not self.containers.alive
        if client.supervises and (self.containers.alive or self.held):
            self.supervisor.lost()

    def _ended(self, container: Container, record: Exit) -> None:
        self.leaving = self.leaving or (self._abandoned and not self.containers.alive)
        for client in list(self.server.clients):
            if container.id in client.attached or (client.watching and container.executed):
                client.attached.discard(container.id)
                event: ExitEvent = {"event": "exit", "id": container.id, "exit": record}
                self.server.send(client, event)

    def _idle(self) -> None:
        working = bool(self.containers.alive or self.held or self.server.clients or self.reaper.execs or self.leaving)
        self.leaving = self.idleness.tend(working, self.path) or self.leaving

    def _respawn(self) -> None:
        supervised = any(client.supervises for client in self.server.clients)
        self.supervisor.tend((bool(self.containers.alive) or self.held) and not supervised)
