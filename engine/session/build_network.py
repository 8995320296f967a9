"""The network of RUN steps: a bridge of their own, or one that build.network names. Used from the build's threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from engine.errors import Conflict, EngineError, InvalidSpec
from engine.net import bridge, removal, veth
from engine.net.wiring import Wiring
from engine.paths import Roots
from engine.session import group_store
from engine.spec.container import Attachment
from engine.spec.network import BUILD_NETWORK, NetworkSpec
from engine.store import Store

_ATTEMPTS = 5


class BuildNetwork:
    """Implements engine.build.container_run.Network."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self._lock = threading.Lock()
        self._used = False
        self._links: list[str] = []

    def connect(self, group: str, container_id: str, pid: int, mode: str) -> Callable[[], None]:
        """Connect the process's network namespace; returns a function that disconnects it. Raises InvalidSpec for an
        unknown network."""
        with self._lock:
            _apart(self._connect(group, container_id, pid, mode))
            self._used = self._used or not mode
        return functools.partial(self._disconnect, container_id)

    def forget(self, group: str) -> None:
        """Release the resources of a killed build. Between two steps, that is only the network, without a lease."""
        self._used = True
        store = Store(self.roots)
        try:
            for container_id in group_store.names(store, group):
                Wiring(store).release(container_id)
                group_store.release(store, container_id)
        finally:
            store.close()

    def close(self) -> None:
        """Remove the builds' network unless another build uses it."""
        with contextlib.suppress(EngineError):
            veth.remove(self._links)  # the kernel removes them with their namespaces, a little later
        if self._used:
            with contextlib.suppress(EngineError):
                _apart(self._remove())

    async def _connect(self, group: str, container_id: str, pid: int, mode: str) -> None:
        store = Store(self.roots)
        try:
            # The name in the database shows others that the lease does not belong to a dead container.
            group_store.claim(store, container_id, f"{group}-{container_id[:12]}", group, "")
            for attempt in range(_ATTEMPTS):
                try:
                    await self._plug(store, container_id, pid, mode)
                    return
                except EngineError:
                    Wiring(store).release(container_id)
                    # Another build may have removed or created the network concurrently.
                    if mode or attempt + 1 == _ATTEMPTS:
                        group_store.release(store, container_id)
                        raise
        finally:
            store.close()

    async def _plug(self, store: Store, container_id: str, pid: int, mode: str) -> None:
        if not mode:
            await bridge.create(store, NetworkSpec(name=BUILD_NETWORK))
        elif bridge.get(store, mode) is None:
            raise InvalidSpec(f"build.network {mode!r}: no such network")
        wiring = Wiring(store)
        plans = wiring.lease(container_id, (Attachment(network=mode or BUILD_NETWORK),))
        self._links += [plan.endpoint.host_interface for plan in plans if plan.endpoint.host_interface]
        await wiring.connect(container_id, pid, plans)

    def _disconnect(self, container_id: str) -> None:
        store = Store(self.roots)
        try:
            Wiring(store).release(container_id)
            group_store.release(store, container_id)
        finally:
            store.close()

    async def _remove(self) -> None:
        store = Store(self.roots)
        try:
            with contextlib.suppress(Conflict):
                await removal.remove(store, BUILD_NETWORK)
        finally:
            store.close()


def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a separate thread and event loop, because the caller's thread may have a loop that waits for
    the build."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(work))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="build-network").start()
    done.result()
