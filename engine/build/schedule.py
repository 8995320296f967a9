"""Executing stages in the order of their dependencies, and independent ones concurrently."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.build.stage import Build, StoppedError
from engine.build.stages import Stage, needs
from engine.build.state import State
from engine.image.images import ImageStore
from engine.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Future

_PARALLEL = 4

Execute = Callable[[Build, Stage], State]
Fork = Callable[[ImageStore, contextlib.ExitStack], Build]


def run(build: Build, stages: Sequence[Stage], fork: Fork, execute: Execute) -> None:
    """Execute `stages` (each listed after what it needs) and keep their states in `build.states`.

    `fork` makes the build for another thread. When a stage fails, the others stop before their next instruction, and
    its error is raised.
    """
    waiting = {stage.index: {other.index for other in needs(build.dockerfile, stage)} for stage in stages}
    if _is_line(waiting):
        for stage in stages:
            build.states[stage.index] = execute(build, stage)
        return
    from concurrent.futures import ThreadPoolExecutor

    by_index = {stage.index: stage for stage in stages}
    running: dict[Future[State], int] = {}
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="stage") as pool:
        while waiting or running:
            for index in [index for index, missing in waiting.items() if missing <= build.states.keys()]:
                if not build.stopped.is_set():
                    running[pool.submit(_in_thread, build, by_index[index], fork, execute)] = index
                del waiting[index]
            if not running:
                break
            _collect(build, running)


def _in_thread(build: Build, stage: Stage, fork: Fork, execute: Execute) -> State:
    """Execute a stage with connections of this thread's own; a failure stops the other stages."""
    store = Store(build.images.store.roots)
    try:
        with contextlib.ExitStack() as stack:
            return execute(fork(ImageStore(store), stack), stage)
    except BaseException:
        build.stopped.set()
        raise
    finally:
        store.close()


def _collect(build: Build, running: dict[Future[State], int]) -> None:
    """Wait for a stage, and keep its state. Raises its error, after the others have stopped."""
    from concurrent.futures import FIRST_COMPLETED, wait

    try:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
    except BaseException:
        build.stopped.set()
        raise
    failures: list[BaseException] = []
    for future in done:
        index = running.pop(future)
        if error := future.exception():
            failures.append(error)
        else:
            build.states[index] = future.result()
    if failures:
        build.stopped.set()
        failures += [error for future in wait(running).done if (error := future.exception())]
        raise next((error for error in failures if not isinstance(error, StoppedError)), failures[0])


def _is_line(waiting: dict[int, set[int]]) -> bool:
    """Whether no stages could run concurrently."""
    seen: set[int] = set()
    for index in waiting:
        if not _above(waiting, index) >= seen:
            return False
        seen.add(index)
    return True


def _above(waiting: dict[int, set[int]], index: int) -> set[int]:
    """All stages that a stage needs, directly or indirectly."""
    found: set[int] = set()
    pending = [index]
    while pending:
        for other in waiting[pending.pop()]:
            if other not in found:
                found.add(other)
                pending.append(other)
    return found
