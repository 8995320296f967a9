"""A registered job, its schedule's progress, and its runs, as they are kept on the disc.

Run states: pending → running → succeeded, failed, timed_out or cancelled; a final state never changes.

Annotations are evaluated where they stand, as in engine.spec and for its reason.
"""

import enum

from msgspec import Struct
from msgspec.json import Decoder

from composer.plan.desired import Desired, DesiredJob


class RunState(enum.Enum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (RunState.PENDING, RunState.RUNNING)


MANUAL, SCHEDULE, DEPENDENCY = "manual", "schedule", "dependency"
"""What starts a run."""

EXIT_CODES = {RunState.CANCELLED: 130, RunState.TIMED_OUT: 124}
"""What a command that waits for a run ends with, where that is not the program's own code."""


class Run(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run. Times are seconds since the epoch, 0 for never.

    iteration    counts the job's runs, from 1
    trigger      MANUAL, SCHEDULE or DEPENDENCY; `planned` is the time of the fire
    attempt      counts the starts of its program, from 1 (retries)
    due          when a failed attempt is followed by the next one
    container    the id of the last attempt's container; `container_gone` when that has been removed
    cut          entries of the log that were dropped from its beginning
    """

    id: str
    iteration: int
    trigger: str = MANUAL
    planned: float = 0.0
    created: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    state: RunState = RunState.PENDING
    exit_code: int | None = None
    error: str = ""
    attempt: int = 1
    due: float = 0.0
    container: str = ""
    container_gone: bool = False
    cut: int = 0

    @property
    def command_code(self) -> int:
        """The exit code of a command that waited for it."""
        return EXIT_CODES.get(self.state, self.exit_code if self.exit_code is not None else 1)


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has become of a job: one file, replaced at each step.

    decided      key of a schedule → the planned time up to which all fires have been decided upon
    paused       by `job pause`; `stopped` with the project
    iteration    the number of the last run
    runs         oldest first, the finished ones bounded by the job's `history`
    waiting      the planned time of a fire that waits for the end of a run (concurrency: queue)
    dropped      fires that met a run (concurrency: forbid, or one too many)
    """

    decided: dict[str, float] = {}
    paused: bool = False
    stopped: bool = False
    iteration: int = 0
    runs: tuple[Run, ...] = ()
    waiting: float = 0.0
    dropped: int = 0

    @property
    def current(self) -> Run | None:
        """The run that is not finished."""
        return next((run for run in self.runs if not run.state.final), None)

    def run(self, run_id: str) -> Run | None:
        return next((run for run in self.runs if run.id == run_id), None)


class Definition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job as it was registered: with the part of the project that it needs. `digest` tells it from a changed one."""

    name: str
    digest: str
    job: DesiredJob
    desired: Desired


decode_progress = Decoder(Progress).decode
decode_definition = Decoder(Definition).decode
