"""Inputs of the translation besides the model: files of configs and secrets, environment variables."""

from __future__ import annotations

from composer.model import Project
from composer.plan.translate.build import variables_of
from composer.plan.translate.scope import DEFAULT_PLATFORM


def files(project: Project) -> set[str]:
    """Paths of configs and secrets. They must exist, and the content of a copied file is part of its service's hash."""
    return {config.file for config in (*project.configs.values(), *project.secrets.values()) if config.file}


def variables(project: Project) -> set[str]:
    """Names of the variables whose values end up in the desired state."""
    found = {
        config.environment
        for config in (*project.configs.values(), *project.secrets.values())
        if config.environment is not None
    }
    found.add(DEFAULT_PLATFORM)
    for service in project.services.values():
        if service.build is not None:
            found.update(variables_of(project, service.build))
    return found
