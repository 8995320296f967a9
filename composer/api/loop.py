"""The API for programs with an event loop, asyncio's or trio's (anyio)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import TypeVar

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from composer.api import command
from composer.api.project import NONE, ONCE
from composer.api.values import Container, Event, LogLine, Output

T = TypeVar("T")
LONGEST = 1 << 24
"""Bytes of a line of output."""


class AsyncProject(command.ProjectBase):
    """As Project. Cancelling a call ends its command; the supervisor finishes operations that have begun."""

    async def __aenter__(self) -> AsyncProject:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.down()

    async def up(
        self,
        *services: str,
        build: bool = False,
        wait: bool = False,
        force_recreate: bool = False,
        scale: Mapping[str, int] = ONCE,
    ) -> list[Container]:
        """See Project.up."""
        await self._run(command.up(services, build=build, wait=wait, force_recreate=force_recreate, scale=scale))
        return await self.ps()

    async def down(self, *, volumes: bool = False, remove_orphans: bool = False, timeout: int | None = None) -> None:
        """See Project.down."""
        await self._run(command.down(volumes=volumes, remove_orphans=remove_orphans, timeout=timeout))

    async def ps(self) -> list[Container]:
        """See Project.ps."""
        return command.containers(await self._run(command.PS))

    def logs(
        self, *services: str, follow: bool = False, since: str = "", tail: int | None = None
    ) -> AsyncIterator[LogLine]:
        """See Project.logs. Close the iterator (contextlib.aclosing) if you stop before its end."""
        return self._lines(command.logs(services, follow=follow, since=since, tail=tail), command.log_line)

    def events(self, *services: str, since: str = "", until: str = "") -> AsyncIterator[Event]:
        """See Project.events."""
        return self._lines(command.events(services, since=since, until=until), command.event)

    async def exec(
        self,
        service: str,
        *program: str,
        input: bytes = b"",
        user: str = "",
        workdir: str = "",
        environment: Mapping[str, str] = NONE,
        index: int = 1,
    ) -> Output:
        """See Project.exec."""
        words = command.execution(service, program, user=user, workdir=workdir, environment=environment, index=index)
        done = await self._process(words, input)
        return Output(done.returncode, done.stdout, done.stderr)

    async def _process(self, words: list[str], input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return await anyio.run_process(
            self._line(*words), cwd=self._folder, env=self._environ, input=input, check=False
        )

    async def _run(self, words: list[str]) -> bytes:
        done = await self._process(words)
        if done.returncode:
            raise command.failure(done.returncode, done.stderr)
        return done.stdout

    async def _lines(self, words: list[str], read: Callable[[bytes], T]) -> AsyncIterator[T]:
        with tempfile.TemporaryFile() as stderr:
            process = await anyio.open_process(
                self._line(*words), cwd=self._folder, env=self._environ, stdin=subprocess.DEVNULL, stderr=stderr
            )
            try:
                assert process.stdout is not None
                lines = BufferedByteReceiveStream(process.stdout)
                while True:
                    try:
                        yield read(await lines.receive_until(b"\n", LONGEST))
                    except anyio.IncompleteRead:
                        break
                if await process.wait():
                    stderr.seek(0)
                    raise command.failure(process.returncode or 0, stderr.read())
            finally:
                if process.returncode is None:
                    process.kill()
                with anyio.CancelScope(shield=True):
                    await process.aclose()
