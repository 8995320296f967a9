"""The interface between RUN instructions and a container engine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from engine.errors import EngineError
from engine.spec.container import Mount, Resources, Ulimit


class RunTree(Struct, frozen=True):
    """A tree that mounts of type image show under the name that is their source: folders, the lowest first, and what is
    written goes to `scratch`/upper, with `scratch`/work for overlayfs; "" makes it read-only."""

    layers: tuple[str, ...]
    scratch: str = ""


class RunRequest(Struct, frozen=True, kw_only=True):
    """One process in a root of its own. Paths are the host's.

    The root is `lower` (folders, lowest first) under `upper`, with `work` for overlayfs; what the process changes is in
    `upper` afterwards. `user` is as in an image's configuration. `network_mode`: "" (a private network with a way
    out), host, none, or an engine network's name.
    """

    lower: tuple[str, ...]
    upper: str
    work: str
    args: tuple[str, ...]
    environment: tuple[str, ...]
    working_dir: str = "/"
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    trees: dict[str, RunTree] = {}
    network_mode: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    resources: Resources = Resources()
    cgroup_parent: str = ""
    privileged: bool = False


Output = Callable[[bytes, int], None]
"""Receives the output of a process, and the descriptor that it wrote to: 1 or 2."""


class RunStep(Protocol):
    def __call__(self, request: RunRequest, output: Output, warn: Callable[[str], None], /) -> int:
        """Run it to its end; gives the exit code (128+n for signal n, 126 and 127 as a shell). Blocks.

        `output` gets stdout and stderr as they come, `warn` what the machine cannot do, once a build. When it raises
        (StartFailed, OperationFailed …), or the calling thread is interrupted, no process, mount or container is left.
        """
        ...


class Steps(RunStep, Protocol):
    """Runs steps until it is closed, which ends those still running; `cancel` kills them and starts no others.
    Thread-safe."""

    def prepare(self) -> None:
        """Called shortly before a step is executed."""
        ...

    def cancel(self) -> None: ...
    def close(self) -> None: ...


class LateSteps:
    """Steps that are `make`'s from the first one on: a build that finds all of them in the cache does not load what runs
    them. A context manager, whose end closes them."""

    def __init__(self, make: Callable[[], Steps]) -> None:
        self._make = make
        self._made: Steps | None = None
        self._cancelled = False
        self._lock = threading.Lock()
        self._preparing: threading.Thread | None = None

    def prepare(self) -> None:
        """Prepare in the background, because a step is about to be executed."""
        if self._preparing is not None:
            return
        with self._lock:
            if self._preparing is None:
                self._preparing = threading.Thread(target=self._prepare, name="prepare")
                self._preparing.start()

    def _prepare(self) -> None:
        with contextlib.suppress(EngineError):  # the first step reports it
            self._steps().prepare()

    def _steps(self) -> Steps:
        with self._lock:
            if self._made is None:
                self._made = self._make()
                if self._cancelled:
                    self._made.cancel()
            return self._made

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._made is not None:
                self._made.cancel()

    def __enter__(self) -> LateSteps:
        return self

    def __exit__(self, *_: object) -> None:
        if self._preparing is not None:
            self._preparing.join()
        if self._made is not None:
            self._made.close()

    def __call__(self, request: RunRequest, output: Output, warn: Callable[[str], None]) -> int:
        """See RunStep."""
        return self._steps()(request, output, warn)
