"""post_start and pre_stop commands (compose-spec, services)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from composer.plan.desired import Hook
from engine.errors import EngineError
from engine.spec.container import ExecSpec

if TYPE_CHECKING:
    from composer.run.port import Changes

MAX_OUTPUT = 4096
"""Bytes of a failing hook's output that its error shows, the last ones."""


class HookFailed(EngineError):
    """`exit_code` is that of the hook."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


async def run(changes: Changes, container_id: str, hooks: Sequence[Hook], kind: str) -> None:
    """Run the hooks in their order, each to its end. HookFailed for the first that fails; the others do not run."""
    for hook in hooks:
        output = os.memfd_create(kind, os.MFD_CLOEXEC)
        try:
            code = await changes.exec(container_id, _spec(hook), stdout=output, stderr=output)
            if code:
                told = os.pread(output, MAX_OUTPUT, max(0, os.fstat(output).st_size - MAX_OUTPUT))
                text = told.decode(errors="replace").strip()
                words = " ".join(hook.command)
                raise HookFailed(
                    f"{kind} hook exited with status {code}: {words}" + (f"\n{text}" if text else ""), code
                )
        finally:
            os.close(output)


def _spec(hook: Hook) -> ExecSpec:
    return ExecSpec(
        args=hook.command,
        environment=hook.environment,
        working_dir=hook.working_dir,
        user=hook.user,
        privileged=hook.privileged,
    )
