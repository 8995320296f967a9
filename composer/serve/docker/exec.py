"""Further processes in running containers (Docker Engine API 1.55, "Exec"). Only the server that created an exec knows
it. The process can outlive the server.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus
from msgspec import structs

from composer.detach import Detach
from composer.serve.descriptors import widen
from composer.serve.docker import body
from composer.serve.docker.body import console_size
from composer.serve.docker.detach import sequence
from composer.serve.docker.streams import Pump, frames, stream_type
from composer.serve.http.errors import BadRequest, HTTPError
from composer.serve.http.request import OBJECT, Reply
from composer.serve.supervised import with_keeper
from composer.view import lookup
from composer.view.start_errors import words
from engine.errors import EngineError, InvalidSpec, OperationFailed
from engine.spec.container import PIPE, ExecSpec
from engine.spec.state import Status

if TYPE_CHECKING:
    from composer.run.handles import Process
    from composer.serve.http.exchange import Exchange
    from composer.serve.http.raw import Raw
    from composer.serve.http.request import Request
    from composer.serve.server import Server
    from engine.spec.state import ContainerRecord


PATIENCE = 2.0
"""Seconds for copying the rest of the output when the process has exited but others still have its streams open."""


NOBODY = (-1, -1, -1)
"""Standard streams without a client: the container's null device."""


class Wanted(body.Body):
    """The body of `POST /containers/{id}/exec`."""

    attach_stdin: bool | None = None
    attach_stdout: bool | None = None
    attach_stderr: bool | None = None
    console_size: list[int] | None = None
    detach: bool | None = None
    detach_keys: str | None = None
    tty: bool | None = None
    env: list[str] | None = None
    cmd: body.Words = None
    privileged: bool | None = None
    user: str | None = None
    working_dir: str | None = None


class Begin(body.Body):
    """The body of `POST /exec/{id}/start`."""

    detach: bool | None = None
    tty: bool | None = None
    console_size: list[int] | None = None


class Exec:
    """One exec: created, running, or exited (`exit_code` is not None)."""

    def __init__(self, record: ContainerRecord, wanted: Wanted, spec: ExecSpec) -> None:
        self.id = secrets.token_hex(32)
        self.container_id, self.group = record.id, record.group
        self.wanted, self.spec = wanted, spec
        self.process: Process | None = None
        self.started = False
        self.exit_code: int | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.exit_code is None


def _need(server: Server, request: Request) -> Exec:
    if (made := server.execs.get(request.arguments["id"])) is None:
        raise HTTPError(404, f"No such exec instance: {request.arguments['id']}")
    return made


def _running(record: ContainerRecord) -> None:
    if record.state.status is Status.PAUSED:
        raise HTTPError(409, f"container {record.id} is paused, unpause the container before exec")
    if not record.state.status.can_exec:
        raise HTTPError(409, f"container {record.id} is not running")


async def create(server: Server, request: Request, exchange: Exchange) -> Reply:
    raw = await request.json(OBJECT)
    if raw is None:
        raise BadRequest("invalid JSON: got EOF while reading request body")
    wanted, _ = body.shaped(raw, Wanted)
    record = lookup.container(server.engine, request.arguments["id"])
    sequence(wanted.detach_keys or "", "escape")
    command = body.words(wanted.cmd)
    if not command:
        raise BadRequest("No exec command specified")
    _running(record)
    server.access.check_exec(privileged=bool(wanted.privileged))
    environment = {
        name: value if equals else None for name, equals, value in (e.partition("=") for e in wanted.env or ())
    }
    spec = ExecSpec(
        args=command,
        environment=dict(environment),
        working_dir=wanted.working_dir or "",
        user=wanted.user or "",
        tty=bool(wanted.tty),
        privileged=bool(wanted.privileged),
    )
    if spec.user:
        await to_thread.run_sync(_check_user, server, record, spec.user)
    made = Exec(record, wanted, spec)
    server.execs.add(made)
    server.journal.container(f"exec_create: {_line(spec)}", record, execID=made.id)
    return Reply({"Id": made.id}, status=201)


def _check_user(server: Server, record: ContainerRecord, user: str) -> None:
    """As Docker does, refuse an unknown user here and not in the output of the start. Raises HTTPError."""
    try:
        with contextlib.suppress(OperationFailed):  # if it prevents the start, that says so
            server.open_engine().check_user(record.group, record.id, user)
    except InvalidSpec as error:
        raise HTTPError(400, words(error.message, name="", endpoint="")) from None


async def start(server: Server, request: Request, exchange: Exchange) -> Reply | None:
    made = _need(server, request)
    payload, _ = body.shaped(await request.json(OBJECT) or {}, Begin)
    record = lookup.container(server.engine, made.container_id)
    _running(record)
    if payload.detach:
        if made.started:
            raise HTTPError(409, f"exec command {made.id} has already run")
        made.started = True
        server.journal.container(f"exec_start: {_line(made.spec)}", record, execID=made.id)
        try:
            await server.tasks.start(_alone, server, made)
        except EngineError as error:
            raise HTTPError(400, _failed(server, made, error)) from error
        return Reply()
    server.journal.container(f"exec_start: {_line(made.spec)}", record, execID=made.id)
    # The client decides now whether it wants frames, whether or not the process has a terminal.
    tty, escape = bool(payload.tty), Detach(sequence(made.wanted.detach_keys or "")) if made.spec.tty else None
    raw = await exchange.hijack(stream_type(request, exchange, tty=tty))
    if made.started:
        await raw.send(_as_output(f"exec command {made.id} has already run\r\n", tty=tty))
        await raw.end()
        return None
    made.started = True
    if not (made.spec.working_dir or "/").startswith("/"):
        server.execs.ended(made, 128)
        await raw.send(_as_output("Cwd must be an absolute path\r\n", tty=tty))
        await raw.end()
        return None
    try:
        if size := console_size(payload.console_size or made.wanted.console_size):
            made.spec = structs.replace(made.spec, console_size=size)
        if escape is not None:
            await _terminal(server, made, raw, escape, plain=tty)
        else:
            await _piped(server, made, raw)
    except EngineError as error:
        await raw.send(_as_output(f"{_failed(server, made, error)}\r\n", tty=tty))
    await raw.end()
    return None


def _failed(server: Server, made: Exec, error: EngineError) -> str:
    """Why the process could not start; its exit code tells whether the program was found."""
    code, text = getattr(error, "exit_code", 126), words(error.message, name="", endpoint="")
    server.execs.ended(made, 127 if code == 127 or "executable file not found" in text else 126)
    return text


def _line(spec: ExecSpec) -> str:
    """The command as events name it: with a space after the program even if it has no arguments."""
    return f"{spec.args[0]} {' '.join(spec.args[1:])}"


def _as_output(text: str, *, tty: bool) -> bytes:
    return text.encode() if tty else frames(1, text.encode())


async def _open(server: Server, made: Exec, stdio: tuple[int, int, int]) -> Process:
    def opens() -> Process:
        return server.engine.exec_process(made.group, made.container_id, made.spec, stdio=stdio)

    made.process = await with_keeper(server, made.group, opens)
    return made.process


async def _ended(server: Server, made: Exec, process: Process) -> None:
    while (code := process.poll()) is None:
        await anyio.wait_readable(process.fileno())
    server.execs.ended(made, code)
    with contextlib.suppress(HTTPError):
        record = lookup.container(server.engine, made.container_id)
        server.journal.container("exec_die", record, execID=made.id, exitCode=str(made.exit_code))


async def _alone(server: Server, made: Exec, *, task_status: TaskStatus[None]) -> None:
    """Run without a client: the streams are the null device."""
    process = await _open(server, made, NOBODY)
    task_status.started()
    try:
        await _ended(server, made, process)
    finally:
        process.close()
        made.process = None


@asynccontextmanager
async def _connected(server: Server, made: Exec, process: Process, raw: Raw) -> AsyncIterator[tuple[TaskGroup, Pump]]:
    """A context manager: the block starts the copying; at its end, we wait for the process and its last output."""
    try:
        async with anyio.create_task_group() as tasks:
            pump = Pump(raw)
            yield tasks, pump
            await _ended(server, made, process)
            with anyio.move_on_after(PATIENCE):
                await pump.drained()
            tasks.cancel_scope.cancel()
    finally:
        process.close()
        made.process = None


async def _piped(server: Server, made: Exec, raw: Raw) -> None:
    """Run with pipes: the client's input goes in, the output goes back in frames."""
    wanted = made.wanted
    stdin, stdout, stderr = (
        PIPE if attached else -1 for attached in (wanted.attach_stdin, wanted.attach_stdout, wanted.attach_stderr)
    )
    process = await _open(server, made, (stdin, stdout, stderr))
    async with _connected(server, made, process, raw) as (tasks, pump):
        for stream, fd in process.pipes.items():
            os.set_blocking(fd, False)
            widen(fd)
            if stream:
                tasks.start_soon(pump.framed, stream, fd)
            else:
                tasks.start_soon(pump.into, fd)


async def _terminal(server: Server, made: Exec, raw: Raw, escape: Detach, *, plain: bool) -> None:
    """Run with a pseudo-terminal. Its output is framed as standard output if the client did not request a terminal."""
    process = await _open(server, made, NOBODY)
    async with _connected(server, made, process, raw) as (tasks, pump):
        assert process.stream is not None
        os.set_blocking(process.stream, False)
        tasks.start_soon(pump.framed, 0 if plain else 1, os.dup(process.stream))
        tasks.start_soon(pump.into, os.dup(process.stream), escape)


async def resize(server: Server, request: Request, exchange: Exchange) -> Reply:
    made = _need(server, request)
    if made.process is None:
        raise HTTPError(409, f"exec {made.id} is not running")
    made.process.resize(*window(request))
    return Reply(status=201 if request.version < (1, 22) else 200)


def window(request: Request) -> tuple[int, int]:
    """Rows and columns in a request. Raises BadRequest."""
    rows, columns = request.number("h"), request.number("w")
    if rows is None or columns is None or rows < 0 or columns < 0:
        raise BadRequest("invalid terminal size: h and w must be given")
    return rows, columns


async def inspect(server: Server, request: Request, exchange: Exchange) -> Reply:
    made = _need(server, request)
    process: dict[str, Any] = {
        "tty": made.spec.tty,
        "entrypoint": made.spec.args[0],
        "arguments": list(made.spec.args[1:]),
        "privileged": made.spec.privileged,
    }
    if made.spec.user:
        process["user"] = made.spec.user
    return Reply(
        {
            "ID": made.id,
            "Running": made.running,
            "ExitCode": made.exit_code,
            "ProcessConfig": process,
            "OpenStdin": bool(made.wanted.attach_stdin),
            "OpenStderr": bool(made.wanted.attach_stderr),
            "OpenStdout": bool(made.wanted.attach_stdout),
            "CanRemove": False,
            "ContainerID": made.container_id,
            "DetachKeys": made.wanted.detach_keys or "",
            "Pid": 0,
        }
    )
