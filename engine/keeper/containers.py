"""The containers of a keeper: those alive, and the failures of those that died during creation."""

from __future__ import annotations

from engine.errors import StartFailed, WrongState
from engine.keeper.attachments import Attachments
from engine.keeper.container import Container
from engine.keeper.failures import Failures
from engine.keeper.output import Outputs
from engine.keeper.shipping import Shipping
from engine.keeper.streams import Streams

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from typing import Any

    from engine.keeper.bundle import Bundle
    from engine.keeper.messages import Failure

_REMEMBERED = 100
"""How many failures of containers that died during creation are remembered."""


class Containers:
    def __init__(self, outputs: Outputs, shipping: Shipping, attachments: Attachments, failures: Failures) -> None:
        self.alive: dict[str, Container] = {}
        self.failed: dict[str, Failure] = {}
        """Container id → why it died before `start`, as an answer."""
        self._outputs, self._shipping, self._attachments, self._failures = outputs, shipping, attachments, failures

    def find(self, container_id: Any) -> Container:
        """The container. Raises WrongState if it is not alive, StartFailed if it died during creation."""
        try:
            return self.alive[container_id]
        except KeyError:
            if died := self.failed.get(container_id):
                raise StartFailed(died["error"], exit_code=died.get("exit_code", 125)) from None
            raise WrongState(f"container {str(container_id)[:12]} is not running") from None

    def open(self, container_id: str, bundle_path: str, *, log_needed: bool = True) -> Container:
        """A container without a process, not yet listed as alive. Raises OSError if its bundle cannot be read, or its
        log cannot be opened although `log_needed`."""
        bundle = _read(bundle_path)
        try:
            return self._open(container_id, bundle)
        except OSError:
            if log_needed:
                raise
            self._failures.survive()
            return self._open(container_id, {**bundle, "log": {"format": ""}})

    def _open(self, container_id: str, bundle: Bundle) -> Container:
        streams = Streams(bundle, self._outputs, self._shipping.compress, self._attachments.input_waits)
        return Container(container_id, bundle, streams)

    def add(self, container: Container) -> None:
        """List the container as alive."""
        self.alive[container.id] = container
        self._shipping.ship(container)

    def remove(self, container: Container) -> None:
        """Remove an exited container: the rest of its log is shipped, and listeners close once they have received all
        output."""
        del self.alive[container.id]
        self._shipping.ended(container)
        self._attachments.ended(container.streams)

    def remember(self, container: Container) -> None:
        """Remember why it died, for later requests."""
        if container.failure:
            self.failed[container.id] = container.failure
        for forgotten in list(self.failed)[:-_REMEMBERED]:
            del self.failed[forgotten]


def _read(path: str) -> Bundle:
    import json

    with open(path, encoding="utf-8") as file:
        found: Bundle = json.load(file)
    return found
