"""Records on disk: a registered job, the progress of its schedules, and its runs.

Run states: pending → running → succeeded, failed, timed_out or cancelled; a final state never changes.

Annotations are evaluated eagerly, for the reason given in engine.spec.
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
"""The triggers of a run."""

EXIT_CODES = {RunState.CANCELLED: 130, RunState.TIMED_OUT: 124}
"""The exit code of a command that waits for a run, for states without an exit code of the program."""


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
        """The exit code of a command that waits for the run."""
        return EXIT_CODES.get(self.state, self.exit_code if self.exit_code is not None else 1)


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The progress of a job: one file, replaced at each step.

    decided      key of a schedule → the planned time up to which all fires have been decided
    paused       by `job pause`; `stopped` with the project
    iteration    the number of the last run
    runs         oldest first, the finished ones bounded by the job's `history`
    waiting      the planned time of a fire that waits for the end of a run (concurrency: queue)
    dropped      the number of fires dropped during a run (concurrency: forbid, or a second one with queue)
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
        """The unfinished run, if any."""
        return next((run for run in self.runs if not run.state.final), None)

    def run(self, run_id: str) -> Run | None:
        return next((run for run in self.runs if run.id == run_id), None)


class Definition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A registered job with the part of the project that it needs. `digest` changes with the job."""

    name: str
    digest: str
    job: DesiredJob
    desired: Desired


decode_progress = Decoder(Progress).decode
decode_definition = Decoder(Definition).decode
