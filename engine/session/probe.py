"""Further processes for the supervisor's own use: healthchecks and hooks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence

from anyio import fail_after

from engine.errors import EngineError, StartFailed
from engine.kernel import calls
from engine.session.group import Group
from engine.session.process import process_of
from engine.spec.container import ExecSpec
from engine.spec.state import Probe

MAX_OUTPUT = 4096
"""Bytes of a probe's output that are kept, as Docker keeps them."""


async def probe(group: Group, container_id: str, test: Sequence[str], timeout: float) -> Probe:
    """See Changes.probe. The output goes through a pipe; what is over MAX_OUTPUT is read and thrown away."""
    shell = list(group.image(group.record(container_id).spec.image).config.shell) or ["/bin/sh", "-c"]
    args = [*shell, *test[1:]] if test[0] == "CMD-SHELL" else list(test[1:])
    begin = time.time()
    pidfd = -1
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(writing, True)
    output = bytearray()
    loop = asyncio.get_running_loop()

    def collect() -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(reading, 65536)
            output.extend(data[: max(0, MAX_OUTPUT - len(output))])
            if not data:
                loop.remove_reader(reading)

    loop.add_reader(reading, collect)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            pidfd, ended = await (await group.keeper()).execute(
                (null, writing, writing), id=container_id, process={"args": args, "tty": False}
            )
        except StartFailed as error:
            return Probe(start=begin, end=time.time(), exit_code=error.exit_code, output=str(error))
        finally:
            os.close(writing)
        try:
            with fail_after(timeout or None):
                code = await asyncio.shield(ended)
        except TimeoutError:
            with contextlib.suppress(EngineError):
                calls.pidfd_send_signal(pidfd, signal.SIGKILL)
            note = f"Health check exceeded timeout ({timeout:g}s)"
            output.extend((b"\n" if output else b"") + note.encode())
            return Probe(start=begin, end=time.time(), exit_code=-1, output=output.decode(errors="replace"))
        collect()
        return Probe(start=begin, end=time.time(), exit_code=code, output=output.decode(errors="replace"))
    finally:
        loop.remove_reader(reading)
        for fd in (reading, null, pidfd):
            if fd >= 0:
                os.close(fd)


async def execute(group: Group, container_id: str, spec: ExecSpec, stdout: int, stderr: int) -> int:
    """See Changes.exec."""
    process = process_of(group.run_folder(container_id), spec)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        pidfd, ended = await (await group.keeper()).execute(
            (null, stdout, stderr), id=container_id, process=process, privileged=spec.privileged
        )
        os.close(pidfd)
        return await ended
    finally:
        os.close(null)
