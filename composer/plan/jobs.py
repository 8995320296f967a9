"""A job that `run` starts: what must be there before it, and what may not be started by hand."""

from __future__ import annotations

from msgspec import structs

from composer.plan.desired import COMPLETED, Desired


class JobRefused(Exception):
    """A job that may not be run; `str(e)` says why."""

    exit_code = 1


def with_job(desired: Desired, name: str) -> Desired:
    """The project with this job, and the jobs that it depends on, among its services: those run to their end first.

    JobRefused when one of them must not be started by hand.
    """
    services, order = dict(desired.services), list(desired.order)

    def add(job_name: str) -> None:
        if job_name in services:
            return
        job = desired.jobs[job_name]
        if not job.manual:
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
