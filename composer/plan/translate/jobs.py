"""Jobs: containers that run to completion, by hand or by a schedule (docs.docker.com/reference/compose-file/jobs)."""

from __future__ import annotations

from composer.model import Project, Service
from composer.model.container import Workload
from composer.plan.desired import DesiredJob, Schedule
from composer.plan.translate.scope import Problems, Scope
from composer.plan.translate.service import service


class _JobScope(Scope):
    """A job viewed as a service with the keys that both have; the paths of its problems are the job's."""

    section = "jobs"

    def __init__(self, project: Project, name: str, problems: Problems) -> None:
        self.project, self.name, self.problems = project, name, problems
        job = project.jobs[name]
        given = job.model_fields_set & Workload.model_fields.keys()
        self.service = Service.model_construct(given, **{key: getattr(job, key) for key in Workload.model_fields})


def job(project: Project, name: str, problems: Problems) -> DesiredJob:
    """A job in engine terms."""
    triggers, limits = project.jobs[name].triggers, project.jobs[name].limits
    return DesiredJob(
        service=service(_JobScope(project, name, problems)),
        manual=triggers.manual is not False,
        schedules=tuple(Schedule(**one.model_dump()) for one in triggers.schedule),
        timeout=limits.timeout,
        retries=limits.retries,
        retry_delay=limits.retry_delay,
        history=limits.history,
    )
