"""The pipeline: record unsupported settings, translate each part, order the services."""

from __future__ import annotations

from composer.dependency_graph import CycleError
from composer.model import Project
from composer.plan.desired import Desired
from composer.plan.problems import Problem, placed
from composer.plan.start_order import order
from composer.plan.translate.jobs import job
from composer.plan.translate.keys import check
from composer.plan.translate.networks import networks
from composer.plan.translate.scope import Problems, Scope, TranslateError
from composer.plan.translate.service import service
from composer.plan.translate.volumes import volumes


def translate(project: Project) -> Desired:
    """The project in engine terms. Unsupported settings are listed in each service's `refused`, with their positions.
    Raises TranslateError when services depend on each other in a cycle."""
    desired, problems = translation(project)
    return placed(desired, problems, project.where, refused=project.refused, clashes=project.clashes)


def translation(project: Project, before: Desired | None = None) -> tuple[Desired, tuple[Problem, ...]]:
    """The same, with the problems returned separately. `before` is the translation of an earlier state of the project;
    its order is reused if no dependency has changed since."""
    problems = Problems(project)
    check(project, problems)
    wanted_networks = networks(project, problems)
    wanted_volumes = volumes(project, problems)
    services = {name: service(Scope(project, name, problems)) for name in sorted(project.services)}
    try:
        ordered = order(services.values(), before)
    except CycleError as error:
        raise TranslateError(str(error)) from error
    desired = Desired(
        project=project.name,
        services=services,
        order=ordered,
        known=tuple(sorted({*project.services, *project.disabled})),
        networks=wanted_networks,
        volumes=wanted_volumes,
        jobs={name: job(project, name, problems) for name in sorted(project.jobs)},
        disabled_jobs={name: tuple(one.profiles) for name, one in project.disabled_jobs.items()},
        working_dir=project.working_dir,
        config_files=project.compose_files,
    )
    return desired, problems.found()
