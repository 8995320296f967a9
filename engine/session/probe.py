"""Additional processes for the supervisor's own use: health checks and hooks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence

from anyio import fail_after

from engine.errors import EngineError, StartFailed
from engine.kernel import calls
from engine.readable import Descriptor, Readable
from engine.session.group import Group
from engine.session.process import process_of
from engine.spec.container import ExecSpec
from engine.spec.state import Probe

MAX_OUTPUT = 4096
"""Bytes of a probe's output that are kept, as in Docker."""

_TURNS = 16
"""Limit of reads after the end of a process, more than a pipe can hold: another process may continue to write."""


async def probe(group: Group, container_id: str, test: Sequence[str], timeout: float) -> Probe:
    """See Changes.probe. Output beyond MAX_OUTPUT is read and discarded."""
    shell = list(group.image(group.record(container_id).spec.image).config.shell) or ["/bin/sh", "-c"]
    args = [*shell, *test[1:]] if test[0] == "CMD-SHELL" else list(test[1:])
    begin = time.time()
    kept = bytearray()

    def keep(data: bytes) -> None:
        kept.extend(data[: max(0, MAX_OUTPUT - len(kept))])

    try:
        running = await _run(group, container_id, keep, process={"args": args, "tty": False})
    except StartFailed as error:
        return Probe(start=begin, end=time.time(), exit_code=error.exit_code, output=str(error))
    try:
        try:
            with fail_after(timeout or None):
                code = await asyncio.shield(running.ended)
        except TimeoutError:
            running.kill()
            note = f"Health check exceeded timeout ({timeout:g}s)"
            kept.extend((b"\n" if kept else b"") + note.encode())
            return Probe(start=begin, end=time.time(), exit_code=-1, output=kept.decode(errors="replace"))
        running.collect()
        return Probe(start=begin, end=time.time(), exit_code=code, output=kept.decode(errors="replace"))
    finally:
        running.close()


async def execute(
    group: Group, container_id: str, spec: ExecSpec, output: Callable[[bytes], None], errors: Callable[[bytes], None]
) -> int:
    """See Changes.exec."""
    process = process_of(group.run_folder(container_id), spec)
    running = await _run(group, container_id, output, errors, process=process, privileged=spec.privileged)
    try:
        code = await running.ended
        running.collect()
        return code
    finally:
        running.close()


class _Running:
    """A process whose output is passed on as it arrives; `outputs`: descriptor → what takes it."""

    def __init__(self, pidfd: int, ended: asyncio.Future[int], outputs: dict[int, Callable[[bytes], None]]) -> None:
        self.ended = ended
        self._pidfd = pidfd
        self._streams = [_Stream(stream, output) for stream, output in outputs.items()]

    def collect(self) -> None:
        """Output so far; do not wait for other processes that hold the streams."""
        for stream in self._streams:
            stream.collect()

    def kill(self) -> None:
        with contextlib.suppress(EngineError):
            calls.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        os.close(self._pidfd)


class _Stream:
    """One output stream of a process."""

    def __init__(self, stream: int, output: Callable[[bytes], None]) -> None:
        self._stream, self._output = stream, output
        os.set_blocking(stream, False)
        self._reading = Readable(Descriptor(stream), self._read)

    def collect(self) -> None:
        for _ in range(_TURNS):
            if not self._read():
                break

    def close(self) -> None:
        self._reading.close()

    def _read(self) -> bool:
        if self._reading.closed:
            return False
        try:
            data = os.read(self._stream, 65536)
        except BlockingIOError:
            return False
        if data:
            self._output(data)
            return True
        self._reading.close()
        return False


async def _run(group: Group, container_id: str, *outputs: Callable[[bytes], None], **fields: object) -> _Running:
    """Start a process. `outputs`: for both streams together, or for each."""
    keeper = await group.keeper()
    wanted = [[1], [2]] if len(outputs) == 2 else [[1, 2]]
    pidfd, streams, ended = await keeper.execute(id=container_id, streams=wanted, **fields)
    return _Running(pidfd, ended, dict(zip(streams, outputs, strict=True)))
