"""The jobs of a project in memory, and how their progress is saved."""

from __future__ import annotations

from collections.abc import Iterator

from anyio import CancelScope
from msgspec import structs

from composer.plan.labels import JOB_RUN
from composer.plan.observed import ObservedJob
from composer.run.jobs.journal import Journal, observed
from composer.run.jobs.records import Definition, Progress, Run, RunState
from engine.errors import NotFound, WrongState
from engine.spec.state import ContainerRecord


class Job:
    """One job. `launched`: a run is starting, and `scope` cancels that. `ending` is the final state of a run that is
    being stopped."""

    def __init__(self, name: str, definition: Definition | None, progress: Progress) -> None:
        self.name, self.definition, self.progress = name, definition, progress
        self.scope: CancelScope | None = None
        self.launched = False
        self.ending: RunState | None = None

    @property
    def armed(self) -> bool:
        """Whether its schedules fire."""
        scheduled = self.definition is not None and self.definition.job.scheduled
        return scheduled and not self.progress.paused and not self.progress.stopped


class Jobs:
    """The jobs, by name. Every change of a job's progress goes through `save`."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._jobs: dict[str, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def load(self) -> None:
        """Read the jobs from the journal."""
        for name in self.journal.names():
            self._jobs[name] = Job(name, self.journal.definition(name), self.journal.progress(name))

    def get(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def get_or_add(self, name: str) -> Job:
        return self._jobs.setdefault(name, Job(name, None, Progress()))

    def forget(self, name: str) -> None:
        """Delete a job with its history."""
        del self._jobs[name]
        self.journal.forget(name)

    def definition(self, name: str) -> Definition | None:
        job = self._jobs.get(name)
        return job.definition if job is not None else None

    def registered(self, name: str) -> Job:
        """A registered job. Raises NotFound."""
        job = self._jobs.get(name)
        if job is None or job.definition is None:
            raise NotFound("job", f"{self.journal.project}.{name}")
        return job

    def find(self, name: str, run_id: str) -> tuple[Job | None, Run | None]:
        job = self._jobs.get(name)
        return job, job.progress.run(run_id) if job is not None else None

    def of_container(self, record: ContainerRecord) -> tuple[Job | None, Run | None]:
        """The job and the run that the container belongs to."""
        run_id = record.spec.labels.get(JOB_RUN, "")
        for job in self._jobs.values():
            if run := job.progress.run(run_id):
                return job, run
        return None, None

    def check_idle(self, job: Job) -> None:
        """Raises WrongState while a run of the job is unfinished."""
        if job.progress.current is not None:
            raise WrongState(f"job {self.journal.project}.{job.name} is already running")

    def observed(self) -> dict[str, ObservedJob]:
        """The jobs as plans see them."""
        return {name: observed(job.definition, job.progress) for name, job in self._jobs.items()}

    def replace(self, job: Job, run: Run) -> None:
        """Save a changed run."""
        self.save(job, runs=tuple(run if one.id == run.id else one for one in job.progress.runs))

    def save(self, job: Job, **fields: object) -> None:
        """Save changed fields of the progress: first on disk, then in memory, so that an error changes nothing."""
        progress = structs.replace(job.progress, **fields)
        self.journal.save(job.name, progress)
        job.progress = progress
