"""The context that the other files of this folder work on: one service, and the list of problems."""

from __future__ import annotations

from composer.model import Project, Service
from composer.model.container import Workload
from composer.model.project import Path
from composer.plan.problems import Problem

DEFAULT_PLATFORM = "DOCKER_DEFAULT_PLATFORM"
"""The variable with the platform of services that set none."""


class TranslateError(Exception):
    """The project cannot be translated."""

    exit_code = 1


class Problems:
    """Collects refusals and warnings. Refusing a shared element (a network, a secret) refuses each service that uses
    it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._refused: list[tuple[Path, str]] = []
        self._ignored: list[tuple[Path, str]] = []

    def refuse(self, path: Path, why: str) -> None:
        self._refused.append((path, why))

    def warn(self, path: Path, why: str) -> None:
        self._ignored.append((path, why))

    def found(self) -> tuple[Problem, ...]:
        """All problems, with the services that they concern. A refusal that concerns none is left out."""
        refusals = [
            Problem(path=path, why=why, services=services)
            for path, why in self._refused
            if (services := self._concerned(path))
        ]
        warnings = [
            Problem(path=path, why=why, services=self._concerned(path), warning=True) for path, why in self._ignored
        ]
        return (*refusals, *warnings)

    def _concerned(self, path: Path) -> tuple[str, ...]:
        return tuple(name for name in self._names() if self._concerns(path, name))

    def _names(self) -> list[str]:
        """The names of services and jobs; they are distinct."""
        return [*sorted(self._project.services), *sorted(self._project.jobs)]

    def _concerns(self, path: Path, name: str) -> bool:
        kind, key = path[0], path[1]
        if kind in ("services", "jobs"):
            return key == name
        service: Workload = self._project.services.get(name) or self._project.jobs[name]
        if kind == "networks":
            return key in service.networks
        if kind == "volumes":
            return any(mount.type == "volume" and mount.source == key for mount in service.volumes)
        references = service.configs if kind == "configs" else service.secrets
        built = service.build.secrets if kind == "secrets" and service.build else ()
        return any(reference.source == key for reference in (*references, *built))


class Scope:
    """One service. The paths of `refuse` and `warn` are relative to it."""

    section = "services"

    def __init__(self, project: Project, name: str, problems: Problems) -> None:
        self.project, self.name, self.problems = project, name, problems
        self.service: Service = project.services[name]

    def refuse(self, path: Path, why: str) -> None:
        self.problems.refuse((self.section, self.name, *path), why)

    def warn(self, path: Path, why: str) -> None:
        self.problems.warn((self.section, self.name, *path), why)

    @property
    def image(self) -> str:
        """The image's reference; for a service with only `build`, a name derived from the service."""
        return self.service.image or f"{self.project.name}-{self.name}"

    @property
    def platform(self) -> str:
        """The platform of the service, or else the default one; "" for any."""
        return self.service.platform or self.project.environ.get(DEFAULT_PLATFORM, "")
