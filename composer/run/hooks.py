"""post_start and pre_stop commands (compose-spec, services)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from anyio import move_on_after

from composer.plan.desired import DesiredService, Hook
from composer.run import hook_log
from composer.run.protocol import HookLine
from engine.errors import EngineError, StartFailed
from engine.spec.container import ExecSpec

if TYPE_CHECKING:
    from composer.run.executor import OperationContext

MAX_OUTPUT, LINES = 2048, 10
"""Bytes and lines from the end of a failing hook's output that its error shows."""
_KILLED = 137
_PATIENCE = 2.0
"""Seconds to wait for the container's exit event after a hook failed because of the exit."""
SHOWN = 1 << 20
"""Bytes of a hook's output that are shown with the output of containers."""


class HookFailed(EngineError):
    """`exit_code` is that of the hook."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


async def run(context: OperationContext, container_id: str, service: DesiredService, kind: str) -> None:
    """Run the service's hooks of this kind (post_start, pre_stop) in order, each to completion, and report their output.
    Raises HookFailed for the first failure; later hooks do not run. In a container that has exited meanwhile, none runs."""
    hooks: Sequence[Hook] = service.post_start if kind == "post_start" else service.pre_stop
    for hook in hooks:
        shown, output, errors = bytearray(), bytearray(), bytearray()

        def keep(last: bytearray, shown: bytearray, data: bytes) -> None:
            shown.extend(data[: max(0, SHOWN - len(shown))])
            last.extend(data)
            del last[:-MAX_OUTPUT]

        try:
            code = await context.changes.exec(
                container_id, _spec(hook), output=partial(keep, output, shown), errors=partial(keep, errors, shown)
            )
            lines = shown.decode(errors="replace").splitlines()
            hook_log.keep(context.folder(container_id), kind, lines)
            for line in lines:
                context.send(HookLine(container=context.changes.record(container_id).spec.name, text=line))
            if code:
                raise HookFailed(_failure(service, code, tail(errors) or tail(output)), code)
        except EngineError as error:
            killed = not isinstance(error, HookFailed) or error.exit_code == _KILLED
            if await _has_ended(context, container_id, patience=_PATIENCE if killed else 0):
                return
            if isinstance(error, StartFailed):
                raise HookFailed(_failure(service, error.exit_code, str(error)), error.exit_code) from None
            raise


def _failure(service: DesiredService, code: int, why: str) -> str:
    return f"{service.name} hook exited with status {code}: {why}".rstrip(": ")


async def _has_ended(context: OperationContext, container_id: str, patience: float) -> bool:
    """Whether the container exits within `patience` seconds: a hook that fails because of the exit ends before the
    state changes."""

    def look() -> bool | None:
        try:
            return None if context.changes.record(container_id).state.status.alive else True
        except EngineError:
            return True

    found = look()
    with move_on_after(patience):
        found = found or await context.notifier.until(container_id, look)
    return bool(found)


def tail(output: bytearray) -> str:
    """The last lines of a hook's output, for the text of its error."""
    return "\n".join(output.decode(errors="replace").strip().splitlines()[-LINES:])


def _spec(hook: Hook) -> ExecSpec:
    return ExecSpec(
        args=hook.command,
        environment=hook.environment,
        working_dir=hook.working_dir,
        user=hook.user,
        privileged=hook.privileged,
    )
