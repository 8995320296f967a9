"""What translating reads besides the model: files that are copied into containers, variables of the environment."""

from __future__ import annotations

from composer.model import Project
from composer.plan.translate.build import variables_of
from composer.plan.translate.files import definition, is_copied


def files(project: Project) -> set[str]:
    """Paths of configs and secrets whose content is a part of a service's hash."""
    found = set()
    for service in project.services.values():
        for kind in ("configs", "secrets"):
            for reference in getattr(service, kind):
                config = definition(project, kind, reference.source)
                if config is not None and config.file and is_copied(config, reference):
                    found.add(config.file)
    return found


def variables(project: Project) -> set[str]:
    """Names of the variables whose values are in what is wanted."""
    found = {
        config.environment
        for config in (*project.configs.values(), *project.secrets.values())
        if config.environment is not None
    }
    for service in project.services.values():
        if service.build is not None:
            found.update(variables_of(project, service.build))
    return found
