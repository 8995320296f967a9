"""The messages of protocol.py, one type each. Types only; not imported at run time."""

from typing import Any, Literal, TypedDict

from engine.keeper.bundle import ExecProcess

# ── requests; every one has "n" and "do" besides ─────────────────────────────────────────────────────────────────


class ById(TypedDict):
    """start, failure, sockets, terminal: of one container."""

    id: str


class Create(ById):
    bundle: str
    """The path of bundle.json."""


class Adopt(Create):
    pid: int
    pid_start: int


class Signal(ById):
    signal: int


class Resize(ById):
    rows: int
    columns: int


class Attach(ById):
    stdin: bool


class Exec(ById):
    n: int
    process: ExecProcess
    tty: bool
    privileged: bool
    streams: list[list[int]]
    """Groups of stream numbers; each group gets a pipe."""


class Supervise(TypedDict):
    argv: list[str]
    env: dict[str, str]


class Hold(TypedDict):
    wanted: bool


class Plain(TypedDict):
    """list, watch, goodbye, leave, own: without further fields."""


# ── answers; every one has "re" besides ──────────────────────────────────────────────────────────────────────────


class Failure(TypedDict, total=False):
    """Why a process does not run the program; all fields are missing if nothing is known."""

    error: str
    exit_code: int


class Made(TypedDict):
    pid: int
    pid_start: int


class Listed(Made):
    id: str
    executed: bool
    adopted: bool


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Exit(TypedDict):
    """The fields of exit.json."""

    exit_code: int
    finished_at: float
    """Seconds since the epoch."""
    oom_killed: bool
    pid: int


class ExitEvent(TypedDict):
    event: Literal["exit"]
    id: str
    exit: Exit


class ExecEvent(TypedDict):
    event: Literal["exec"]
    n: int
    exit_code: int


class Report(TypedDict, total=False):
    """From a container's process to its keeper: sockets, terminal (both with descriptors), ready, failed; "start"
    answers ready; "go" lets a script begin."""

    event: str
    error: str
    exit_code: int


Frame = dict[str, Any]
"""Bytes read but not yet parsed."""
