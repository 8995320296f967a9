"""A session's connection to its group's keeper, which is started on demand and replaced if it is killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from anyio import Lock, sleep, to_thread

from engine.errors import EngineError, KeeperLost, OtherVersion
from engine.keeper.client import KeeperClient
from engine.keeper.launch import Launch
from engine.paths import Roots

_ATTEMPTS, _PAUSE = 250, 0.02
"""Delays in seconds between requests to a keeper to exit: reaping its children may take a moment."""


class KeeperLink:
    """`supervisor` is the command line that the keeper executes when it loses its supervisor; `launch` a keeper that is
    starting. `connected` is called with each new connection."""

    def __init__(
        self,
        roots: Roots,
        group: str,
        supervisor: Sequence[str],
        launch: Launch | None,
        connected: Callable[[KeeperClient], None],
    ) -> None:
        self._roots, self._group, self._supervisor = roots, group, tuple(supervisor)
        self._launch, self._connected = launch, connected
        self._lock = Lock()
        self._held = False
        self.client: KeeperClient | None = None
        """The most recent connection."""

    @property
    def lost(self) -> bool:
        """There is no connection, or no longer one."""
        return self.client is None or self.client.lost

    @property
    def is_launching(self) -> bool:
        """A keeper is getting ready."""
        return self._launch is not None

    async def await_launch(self) -> None:
        """Connect to the keeper that is getting ready, before it is needed. A failure is reported when it is."""
        with contextlib.suppress(EngineError):
            await self.keeper()

    async def keeper(self) -> KeeperClient:
        """The keeper; it is started if there is none. Raises KeeperLost, OtherVersion."""
        async with self._lock:
            if self.client is None or self.client.lost:
                client = KeeperClient.connect(self._roots, self._group) if self._launch is None else None
                if client is None:
                    self._launch = self._launch or Launch(self._roots, self._group)
                    client = await self._launched()
                if client is None:
                    raise KeeperLost(f"the keeper of {self._group} was killed while it started")
                await client.ask("watch")
                if self._supervisor:
                    environment = {**os.environ, **self._roots.environment()}
                    await client.ask("supervise", argv=list(self._supervisor), env=environment)
                if self._held:
                    await client.ask("hold", wanted=True)
                self.client = client
                self._connected(client)
            return self.client

    async def hold(self, wanted: bool) -> None:
        """See composer.run.port.Changes.hold."""
        self._held = wanted
        if wanted:
            await (await self.keeper()).ask("hold", wanted=True)
        elif self.client is not None and not self.client.lost:
            await self.client.ask("hold", wanted=False)

    async def _launched(self) -> KeeperClient | None:
        """Wait for the keeper that is starting, if there is one, and connect to it."""
        launch, self._launch = self._launch, None
        if launch is None:
            return None
        with launch:
            await to_thread.run_sync(launch.wait)
            return KeeperClient.connect(self._roots, self._group)

    async def close(self, *, dismiss: bool) -> bool:
        """Disconnect from the keeper, and make it exit if no container of the group is alive; returns whether it
        exits."""
        async with self._lock:
            client = self.client
            with contextlib.suppress(EngineError):
                client = await self._launched() or client
        if client is None or client.lost:
            with contextlib.suppress(OtherVersion):
                client = KeeperClient.connect(self._roots, self._group)
        if client is None or client.lost:
            return False
        dismissed = False
        with contextlib.suppress(EngineError):
            await client.ask("goodbye")
            dismissed = dismiss and await _dismiss(client)
        client.close()
        return dismissed


async def _dismiss(client: KeeperClient) -> bool:
    """Make the keeper exit. Processes that were forked and never started end with it."""
    for _ in range(_ATTEMPTS):
        try:
            await client.ask("leave")
            return True
        except KeeperLost:
            return True
        except EngineError:
            answer, _ = await client.ask("list")
            for entry in answer["containers"]:
                with contextlib.suppress(EngineError):
                    await client.ask("signal", id=entry["id"], signal=9)
            await sleep(_PAUSE)
    return False
