"""The labels of a container: the user's, and those that link it to its project (Docker Compose's names)."""

from __future__ import annotations

from composer.plan import labels
from composer.plan.desired import Dependency
from composer.plan.translate.scope import Scope
from composer.release import COMPOSE


def container_labels(scope: Scope, digest: str, dependencies: tuple[Dependency, ...]) -> dict[str, str]:
    """The labels that do not depend on the container. Its number, image id and summary are added at creation."""
    project = scope.project
    return {
        **scope.service.labels,
        **project_labels(scope),
        labels.HASH: digest,
        labels.DEPENDS_ON: ",".join(
            f"{one.service}:{one.condition}:{'true' if one.restart else 'false'}" for one in dependencies
        ),
        labels.ONEOFF: "False",
        labels.VERSION: COMPOSE,
        labels.WORKING_DIR: project.working_dir,
        labels.CONFIG_FILES: ",".join(project.compose_files),
    }


def project_labels(scope: Scope) -> dict[str, str]:
    """The labels of every container of the service, including its hooks'."""
    return {
        labels.PROJECT: scope.project.name,
        labels.SERVICE: scope.name,
    }
