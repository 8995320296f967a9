"""Messages between a command and its project's supervisor, over a SOCK_STREAM socket in the run root.

    command                                        supervisor
      │  Request: desired project, options           │
      │ ───────────────────────────────────────────▶ │
      │        Queued     (another command is served)│
      │        Note       (a line for the reader)    │
      │        HookLine   (what a hook has printed)  │
      │        Step       begun, done, failed …      │  one or more for each operation of the plan
      │ ◀─────────────────────────────────────────── │
      │        Ready      (`run`, and `attach` of Options: a container exists, its program has not started)
      │ ◀─────────────────────────────────────────── │
      │  Go               (the command has attached) │
      │ ───────────────────────────────────────────▶ │
      │        End        failures, in order         │
      │ ◀─────────────────────────────────────────── │

A frame is a 4-byte big-endian length and that many bytes of JSON, one object whose "type" names the message. A command
that hangs up cancels its request: operations that have begun are finished, the others do not begin. End is the last
frame. With `last` the supervisor exits, and the command waits for the end of the connection.

Annotations are evaluated eagerly, for the reason given in engine.spec.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from composer.plan.desired import Desired
from composer.plan.operations import Change
from composer.plan.options import Options
from engine.spec.container import ContainerSpec

MAX_FRAME = 64 * 1024 * 1024
"""The largest message in bytes. A project of 1,000 services has about two million."""

BEGUN, DONE, FAILED, SKIPPED, WARNED = "begun", "done", "failed", "skipped", "warned"


class OneOff(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The container of `composer run`, in addition to the plan that starts its service's dependencies.

    `attach`: wait for Go between Ready and the start of its program.
    """

    service: str
    spec: ContainerSpec
    attach: bool = True
    run: str = ""
    """The id of the run, if it is a run of a job."""


class JobAction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An action of `composer job`. `verb`: run, cancel, wait, pause, resume, rm, or suspend, which applies to all jobs.
    `run`: the id of a run. `history`: rm also deletes the records of runs. If the request contains the project, run
    registers an unregistered job.
    """

    verb: str
    name: str
    run: str = ""
    history: bool = False


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="request"):
    options: Options
    desired: Desired | None = None
    oneoff: OneOff | None = None
    job: JobAction | None = None
    """Performed concurrently with other requests, in place of a plan."""
    operations: tuple[Change, ...] = ()
    """Performed concurrently with other requests, in place of a plan; they change only the objects that they name."""


class Go(Struct, frozen=True, tag="go"):
    container_id: str


class Queued(Struct, frozen=True, tag="queued"):
    pass


class Note(Struct, frozen=True, tag="note"):
    text: str


class HookLine(Struct, frozen=True, tag="hook"):
    """A line of output from a post_start or pre_stop hook, for followers of the container's output."""

    container: str
    text: str


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="step"):
    """One operation: `kind` and `part` are those of composer.plan.operations, `state` BEGUN, DONE, FAILED, SKIPPED or
    WARNED."""

    kind: str
    name: str
    state: str
    part: str = ""
    cause: str = ""
    condition: str = ""
    detail: str = ""


class Ready(Struct, frozen=True, tag="ready"):
    container_id: str


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`message` is for the user; `exit_code` is the command's; `error` is the name of the class, if it is one of
    engine.errors."""

    message: str
    exit_code: int = 1
    error: str = ""


class End(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="end"):
    failures: tuple[Failure, ...] = ()
    container_id: str = ""
    exit_code: int = 0
    """The exit code of the container or run whose end was awaited."""
    run: str = ""
    """The id of the run that was started or cancelled."""
    last: bool = False


Event = Queued | Note | HookLine | Step | Ready | End

_REQUESTS: msgspec.json.Decoder[Request | Go] = msgspec.json.Decoder(Request | Go)
_EVENTS: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_ENCODER = msgspec.json.Encoder()


def frame(message: Request | Go | Event) -> bytes:
    data = _ENCODER.encode(message)
    return len(data).to_bytes(4, "big") + data


class Frames:
    """Splits a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that `data` completes. Raises ValueError for one that is too long."""
        self._buffer += data
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._buffer) < 4 + length:
                return
            found = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            yield found


def request_of(data: bytes) -> Request | Go:
    """Decode a command's message. Raises ValueError (msgspec.DecodeError) for an invalid one."""
    return _REQUESTS.decode(data)


def event_of(data: bytes) -> Event:
    return _EVENTS.decode(data)
