"""Messages between a command and its project's supervisor, over a SOCK_STREAM socket in the run root.

    command                                        supervisor
      │  Request: desired project, options           │
      │ ───────────────────────────────────────────▶ │
      │        Queued     (another command is served)│
      │        Note       (a line for the reader)    │
      │        HookLine   (what a hook has printed)  │
      │        Step       begun, done, failed …      │  one or more for each operation of the plan
      │ ◀─────────────────────────────────────────── │
      │        Ready      (`run`, and `attach` of Options: a container is there, its program not yet started)
      │ ◀─────────────────────────────────────────── │
      │  Go               (the command has attached) │
      │ ───────────────────────────────────────────▶ │
      │        End        failures, in order         │
      │ ◀─────────────────────────────────────────── │

A frame is a 4-byte big-endian length and that many bytes of JSON, one object whose "type" names the message. A command
that hangs up cancels what it asked for: operations that have begun are finished, the others do not begin. End is the last
frame; with `last` the supervisor leaves, and the command waits until it has hung up.

Annotations are evaluated where they stand, as in engine.spec and for its reason.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from composer.plan.desired import Desired
from composer.plan.operations import Change
from composer.plan.options import Options
from engine.spec.container import ContainerSpec

MAX_FRAME = 64 * 1024 * 1024
"""Bytes; more is nonsense (a project of 1,000 services has about two million)."""

BEGUN, DONE, FAILED, SKIPPED, WARNED = "begun", "done", "failed", "skipped", "warned"


class OneOff(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The container of `composer run`, beside the plan that starts what its service depends on.

    `attach`: wait for Go between Ready and the start of its program.
    """

    service: str
    spec: ContainerSpec
    attach: bool = True
    run: str = ""
    """The id of the run, when it is one of a job."""


class JobAction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `composer job` asks for. `verb`: run, cancel, wait, pause, resume, rm, or suspend, which is about all jobs. `run`: the
    id of a run. `history`: rm forgets the job's runs, too. Where the request has the project, run registers a job that is not.
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
    """This, side by side with other requests, in place of a plan."""
    operations: tuple[Change, ...] = ()
    """These, side by side with other requests, in place of a plan: what they name is all that they touch."""


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
    """`message` is for the reader; `exit_code` that of the command; `error` names the class of engine.errors, if it is one."""

    message: str
    exit_code: int = 1
    error: str = ""


class End(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="end"):
    failures: tuple[Failure, ...] = ()
    container_id: str = ""
    exit_code: int = 0
    """How the container ended, or the job's run, whose end was awaited."""
    run: str = ""
    """The id of the job's run that was started or ended."""
    last: bool = False


Event = Queued | Note | HookLine | Step | Ready | End

_REQUESTS: msgspec.json.Decoder[Request | Go] = msgspec.json.Decoder(Request | Go)
_EVENTS: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_ENCODER = msgspec.json.Encoder()


def frame(message: Request | Go | Event) -> bytes:
    data = _ENCODER.encode(message)
    return len(data).to_bytes(4, "big") + data


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that `data` completes. ValueError for one that is too long."""
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
    """What a command says. ValueError (msgspec.DecodeError) when it is none of these."""
    return _REQUESTS.decode(data)


def event_of(data: bytes) -> Event:
    return _EVENTS.decode(data)
