"""Jobs for commands: registrations, runs, and requests to the supervisor."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
from composer.cli.errors import CommandError
from composer.cli.project import direct_changes
from composer.load.errors import LoadError
from composer.plan.options import Options
from composer.run.jobs import timing
from composer.run.jobs.journal import Journal
from composer.run.protocol import End, JobAction, Request
from engine.paths import Roots

if TYPE_CHECKING:
    from composer.cli.project.context import Context
    from composer.plan.desired import Desired, DesiredJob
    from composer.run.jobs.records import Definition, Progress, Run


class Listed:
    """A job: registered, declared in the project's files (`desired`), or both."""

    def __init__(
        self,
        journal: Journal,
        name: str,
        definition: Definition | None,
        job: DesiredJob,
        desired: Desired | None = None,
    ) -> None:
        self.journal, self.name, self.definition, self.job, self.desired = journal, name, definition, job, desired
        self.project = journal.project
        self.progress: Progress = journal.progress(name)

    @property
    def full_name(self) -> str:
        return f"{self.project}.{self.name}"

    @property
    def state(self) -> str:
        """running, idle, stopped with the project, or unregistered: `up` has not seen its schedule yet."""
        if self.progress.current is not None:
            return "running"
        if not self.job.schedules:
            return "idle"
        return "unregistered" if self.definition is None else "stopped" if self.progress.stopped else "idle"

    def next_fires(self, now: float, count: int) -> list[float]:
        """The next fires; none for a job that is manual, paused, stopped or running, as in Docker."""
        if self.definition is None or self.progress.paused or self.state != "idle":
            return []
        return timing.next_fires(self.job.schedules, now, count)


def listed(context: Context, *, everywhere: bool = False, declared: bool = True) -> list[Listed]:
    """The jobs of the project, or of all projects; with `declared` also those that are only in the project's files."""
    if everywhere:
        return [
            job for project in projects(context.roots) for job in _registered(Journal(context.roots, project)).values()
        ]
    found = _registered(Journal(context.roots, context.project_name))
    if declared and (desired := context.desired_or_none) is not None:
        journal = Journal(context.roots, context.project_name)
        for name, job in desired.jobs.items():
            found.setdefault(name, Listed(journal, name, None, job, desired))
    return [found[name] for name in sorted(found)]


def projects(roots: Roots) -> list[str]:
    """The projects that have jobs or had some."""
    try:
        return sorted(os.listdir(roots.jobs))
    except FileNotFoundError:
        return []


def armed(roots: Roots) -> list[str]:
    """The projects with an armed schedule."""
    found = []
    for project in projects(roots):
        journal = Journal(roots, project)
        if any(job.scheduled and not job.stopped for job in journal.observed().values()):
            found.append(project)
    return found


def _registered(journal: Journal) -> dict[str, Listed]:
    definitions = {name: journal.definition(name) for name in journal.names()}
    return {name: Listed(journal, name, one, one.job) for name, one in definitions.items() if one is not None}


def need(context: Context, text: str) -> Listed:
    """The project's job NAME, or PROJECT.NAME. The history of an unregistered job remains available. Raises CommandError."""
    for journal, name in _places(context, text):
        definition = journal.definition(name)
        if definition is not None:
            return Listed(journal, name, definition, definition.job)
        if name in journal.names():
            from composer.plan.desired import DesiredJob, DesiredService
            from engine.spec.container import ContainerSpec

            empty = DesiredService(name=name, hash="", image="", container=ContainerSpec(name="", image=""))
            return Listed(journal, name, None, DesiredJob(service=empty))
    desired = None
    with contextlib.suppress(LoadError):
        desired = context.desired_or_none
    if desired is not None and text in desired.jobs:
        return Listed(Journal(context.roots, desired.project), text, None, desired.jobs[text], desired)
    from composer.cli.project.context import nearest

    known = {job.name for job in listed(context)} if desired is not None else set[str]()
    raise CommandError(f"no such job: {text}{nearest(text, known)}")


def registered_or_declared(context: Context, name: str) -> Listed:
    """The job, registered or only in the project's files; gets the images of the latter."""
    job = need(context, name)
    if job.definition is None and job.desired is not None:
        from composer.cli.project.acquire import ensure_images
        from composer.cli.project.converge import Images
        from composer.cli.project.trust import check_trust
        from composer.plan.jobs import part_for

        part = part_for(job.desired, job.name)
        check_trust(context, job.desired, part.order, agreed=False)
        context.build_log = context.stderr  # stdout is the command's result
        ensure_images(context, part, list(part.order), Images())
    elif job.definition is None:
        raise CommandError(f"job {job.full_name} is not registered")
    return job


def _places(context: Context, text: str) -> list[tuple[Journal, str]]:
    found = []
    with contextlib.suppress(LoadError):
        found.append((Journal(context.roots, context.project_name), text))
    parts = text.split(".")
    found += [(Journal(context.roots, ".".join(parts[:n])), ".".join(parts[n:])) for n in range(1, len(parts))]
    return found


def find_run(job: Listed, text: str) -> Run:
    """A run by its number, id or prefix of the id; the last one for "". Raises CommandError."""
    runs = job.progress.runs
    if not text and runs:
        return runs[-1]
    if not runs:
        raise CommandError(f"job {job.full_name} has not been run")
    found = [run for run in runs if str(run.iteration) == text] or [run for run in runs if run.id.startswith(text)]
    if len(found) != 1:
        raise CommandError(f"no such run of job {job.full_name}: {text}")
    return found[0]


def ask(
    context: Context, verb: str, name: str, *, project: str = "", run: str = "", history: bool = False,
    desired: Desired | None = None,
) -> End:  # fmt: skip
    """Request an action from the project's supervisor (see `JobAction`). Raises CommandError on failure."""
    if context.dry_run and verb != "wait":
        return End()
    request = Request(
        options=Options(action="job"), desired=desired, job=JobAction(verb=verb, name=name, run=run, history=history)
    )
    return direct_changes.ask(context, project or context.project_name, request)
