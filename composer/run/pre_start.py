"""pre_start hooks: containers that run to completion, one after the other, before a service's first container starts.

A hook that succeeded is removed at once. A failed one is kept for inspection of its files and log until the next round of hooks
or `down`. An interrupted one is removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from anyio import CancelScope, create_task_group, wait_readable

from composer.plan.desired import DesiredService
from composer.plan.labels import is_hook, service_of
from composer.run import container_spec
from composer.run.hooks import MAX_OUTPUT, HookFailed, tail
from composer.run.protocol import HookLine
from engine.errors import EngineError, NotFound
from engine.spec.container import ContainerSpec

if TYPE_CHECKING:
    from composer.run.executor import OperationContext
    from composer.run.handles import LogReader

Waiting = Callable[[], contextlib.AbstractAsyncContextManager[None]]
"""A context manager for pure waiting, in which other requests get their turn."""


async def run(context: OperationContext, service: DesiredService, find: container_spec.Find, waiting: Waiting) -> None:
    """Run the service's hooks. Raises HookFailed for the first that fails; later hooks do not run."""
    await _clear(context, service.name)
    for index, hook in enumerate(service.pre_start):
        images = context.snapshot.images
        spec = msgspec.structs.replace(
            hook.container,
            name=f"{context.snapshot.project}-{service.name}-pre_start-{index}-{os.urandom(4).hex()}",
            mounts=container_spec.mounts(hook.container, images, service.name),
        )
        spec = container_spec.with_image(spec, container_spec.image_id(hook.wanted_image, images, service.name))
        await _Run(context, f"{service.name} pre_start[{index}]", waiting).run(container_spec.joined(spec, find))


async def _clear(context: OperationContext, service: str) -> None:
    """Remove the containers of earlier rounds."""
    for record in context.changes.containers():
        if is_hook(record) and service_of(record) == service:
            await _remove(context, record.id)


async def _remove(context: OperationContext, container_id: str) -> None:
    with CancelScope(shield=True), contextlib.suppress(NotFound):
        await context.monitor.suppress_restart(container_id)
        await context.changes.remove(container_id, force=True, volumes=True)
        context.monitor.forget(container_id)


class _Run:
    """One hook. `name` is its name in messages: "web pre_start[0]"."""

    def __init__(self, context: OperationContext, name: str, waiting: Waiting) -> None:
        self._context, self._name, self._waiting = context, name, waiting
        service, _, which = name.partition(" ")
        self._title = f'service "{service}" {which}'
        self._last = {"stdout": bytearray(), "stderr": bytearray()}
        self._line = ""

    async def run(self, spec: ContainerSpec) -> None:
        container_id, kept = "", False
        try:
            with CancelScope(shield=True):
                container_id = (await self._context.changes.create(spec)).id
                await self._context.changes.start(container_id)
                self._context.monitor.started(container_id)
            code = await self._ended(container_id)
            if code:
                kept = True
                output = tail(self._last["stderr"]) or tail(self._last["stdout"])
                detail = f": {output}" if output else ""
                retained = f"(hook container {container_id[:12]} retained for inspection)"
                raise HookFailed(f"{self._title} exited with code {code}{detail} {retained}", code)
        except HookFailed:
            raise
        except EngineError as error:
            raise HookFailed(f"{self._title} cannot start: {error}", getattr(error, "exit_code", 1) or 1) from error
        finally:
            if container_id and not kept:
                await _remove(self._context, container_id)

    async def _ended(self, container_id: str) -> int:
        """Wait for its exit while showing its output; returns the exit code."""
        changes = self._context.changes

        def look() -> int | None:
            state = changes.record(container_id).state
            return None if state.status.alive else state.exit_code

        reader = self._context.logs(container_id)
        try:
            async with self._waiting(), create_task_group() as tasks:
                tasks.start_soon(self._follow, container_id, reader)
                code = await self._context.notifier.until(container_id, look)
                tasks.cancel_scope.cancel()
            self._read(reader)
            if self._line:
                self._show("\n")
        finally:
            reader.close()
        return code

    async def _follow(self, container_id: str, reader: LogReader) -> None:
        watch = self._context.watch()
        try:
            self._read(reader)
            while True:
                await wait_readable(watch.fileno())
                if container_id in watch.read():
                    self._read(reader)
        finally:
            watch.close()

    def _read(self, reader: LogReader) -> None:
        for entry in reader.read():
            last = self._last[entry.stream]
            last += entry.text.encode()
            del last[:-MAX_OUTPUT]
            self._show(entry.text)

    def _show(self, text: str) -> None:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._context.send(HookLine(container=self._name, text=line))
