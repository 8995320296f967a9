"""Plan jobs: the requirements of a run, jobs that must not be started by hand, registrations to add and remove."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import structs

from composer.plan import refusal
from composer.plan.desired import COMPLETED, Desired, DesiredService
from composer.plan.observed import Snapshot
from composer.plan.operations import Plan, RegisterJob, RemoveJob, RunJob, StartJob, StopJob


class JobRefused(Exception):
    """The job must not be run; `str(e)` is the reason."""

    exit_code = 1


def with_job(desired: Desired, name: str, *, by_hand: bool = True) -> Desired:
    """The project with this job and its job dependencies as services; the dependencies run to completion first. Raises
    JobRefused when one of them must not be started by hand.
    """
    services, order = dict(desired.services), list(desired.order)

    def add(job_name: str) -> None:
        if job_name in services:
            return
        job = desired.jobs[job_name]
        if by_hand and not job.manual:
            why = "run manually" if job_name == name else "triggered even as a dependency of another job"
            raise JobRefused(f'job "{job_name}" is declared with manual: false, it cannot be {why}')
        needed = []
        for dependency in job.service.depends_on:
            if dependency.service in desired.jobs:
                add(dependency.service)
                dependency = structs.replace(dependency, condition=COMPLETED)
            needed.append(dependency)
        services[job_name] = structs.replace(job.service, depends_on=tuple(needed))
        order.append(job_name)

    add(name)
    return structs.replace(desired, services=services, order=tuple(order))


def part_for(desired: Desired, name: str) -> Desired:
    """The part of the project that a run of the job needs: the job and its dependencies."""
    whole = desired if name in desired.services else with_job(desired, name, by_hand=False)
    names = whole.selected([name], dependencies=True)
    return structs.replace(
        whole,
        services={one: whole.services[one] for one in names},
        order=tuple(names),
        jobs={one: desired.jobs[one] for one in depended_on(whole, names) if one not in names},
        disabled_jobs={},
        foreign={},
        warnings={},
    )


def digest(desired: Desired, name: str) -> str:
    """A digest that changes with the job: its triggers, limits, service and dependencies."""
    import hashlib  # few projects have jobs

    job = desired.jobs[name]
    services = part_for(desired, name).services
    content = (
        {one: (service.hash, service.image) for one, service in services.items()},
        (job.manual, job.schedules, job.timeout, job.retries, job.retry_delay, job.history),
    )
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def register(plan: Plan, desired: Desired, snapshot: Snapshot, *, start: bool) -> None:
    """Plan to register the project's jobs and to remove the others, after all other operations. Jobs without a schedule
    are registered by their first run. `start`: resume stopped schedules."""
    before = tuple(operation.id for operation in plan.operations)
    for name in sorted(desired.jobs):
        job, there = desired.jobs[name], snapshot.jobs.get(name)
        known = there is not None and there.digest != ""
        if not known and not job.scheduled:
            continue
        found = digest(desired, name)
        if there is None or there.digest != found:
            part = part_for(desired, name)
            refusal.check(part, part.order)
            cause = "its definition has changed" if known else "it is new"
            plan.add(RegisterJob, name, cause, desired=part, job=job, digest=found, after=before)
        elif there.stopped and start:
            plan.add(StartJob, name, "it was stopped", after=before)
    registered = {name for name, job in snapshot.jobs.items() if job.digest}
    for name in sorted(registered - desired.jobs.keys() - desired.disabled_jobs.keys()):
        plan.add(RemoveJob, name, "it is no longer in the project", after=before)


def depended_on(desired: Desired, services: Iterable[str]) -> list[str]:
    """The jobs that these services depend on."""
    found = (one.service for name in services for one in desired.services[name].depends_on)
    return sorted({name for name in found if name in desired.jobs and name not in desired.services})


def gates(plan: Plan, desired: Desired, service: DesiredService, after: Iterable[int]) -> tuple[int, ...]:
    """Plan the runs of the jobs that a service depends on, after the operations `after`, once per plan. Raises
    JobRefused."""
    found = []
    for dependency in service.depends_on:
        job = desired.jobs.get(dependency.service)
        if job is None or dependency.service in desired.services:  # `with_job` has turned it into a service
            continue
        name = dependency.service
        planned = next((one for one in plan.operations if isinstance(one, RunJob) and one.name == name), None)
        if planned is None:
            if not job.manual:
                raise JobRefused(
                    f'job "{name}" is declared with manual: false, it cannot be triggered even as a dependency of '
                    f'service "{service.name}"'
                )
            part = part_for(desired, name)
            refusal.check(part, part.order)
            planned = plan.add(
                RunJob, name, f"{service.name} needs it completed", after=after, desired=part, job=job,
                digest=digest(desired, name), required=dependency.required, service_name=service.name,
            )  # fmt: skip
        found.append(planned.id)
    return tuple(found)


def unregister(plan: Plan, snapshot: Snapshot, cause: str, *, history: bool) -> tuple[int, ...]:
    """Plan to unregister all jobs, with `history` also to delete the records of earlier ones. Returns the
    operations."""
    names = [name for name, job in sorted(snapshot.jobs.items()) if history or job.digest]
    return tuple(plan.add(RemoveJob, name, cause, history=history).id for name in names)


def stop(plan: Plan, names: Iterable[str], snapshot: Snapshot) -> None:
    """Plan to stop schedules and unfinished runs."""
    for name in sorted(names):
        job = snapshot.jobs[name]
        if job.running or (job.scheduled and not job.stopped):
            plan.add(StopJob, name, "stop")


def start(plan: Plan, snapshot: Snapshot) -> None:
    """Plan to resume stopped schedules."""
    before = tuple(operation.id for operation in plan.operations)
    for name in sorted(snapshot.jobs):
        if snapshot.jobs[name].stopped:
            plan.add(StartJob, name, "it was stopped", after=before)
