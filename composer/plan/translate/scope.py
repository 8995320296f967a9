"""What the files of this folder work on: one service of a project, and the list of what cannot be done."""

from __future__ import annotations

from composer.model import Project, Service
from composer.model.project import Path


class TranslateError(Exception):
    """The project cannot be understood at all."""

    exit_code = 1


class Problems:
    """Refusals and warnings, each with the place of what it is about. A refusal of something that services share (a
    network, a secret) is one of each service that uses it."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._refused: list[tuple[Path, str]] = []
        self.told: list[str] = []

    def refuse(self, path: Path, why: str) -> None:
        self._refused.append((path, self._line(path, why)))

    def tell(self, path: Path, why: str) -> None:
        self.told.append(self._line(path, why))

    def of(self, name: str) -> tuple[str, ...]:
        """What is refused to the service of this name."""
        lines = [line for path, line in self._refused if self._concerns(path, name)]
        return tuple(dict.fromkeys(lines))

    def _concerns(self, path: Path, name: str) -> bool:
        kind, key = path[0], path[1]
        service = self._project.services[name]
        if kind == "services":
            return key == name
        if kind == "networks":
            return key in service.networks
        if kind == "volumes":
            return any(mount.type == "volume" and mount.source == key for mount in service.volumes)
        references = service.configs if kind == "configs" else service.secrets
        built = service.build.secrets if kind == "secrets" and service.build else ()
        return any(reference.source == key for reference in (*references, *built))

    def _line(self, path: Path, why: str) -> str:
        name = dotted(path)
        place = self._project.where(path)
        return f"{place}: {name}: {why}" if place and place != name else f"{name}: {why}"


class Scope:
    """One service. Paths given to `refuse` and `tell` are relative to it."""

    def __init__(self, project: Project, name: str, problems: Problems) -> None:
        self.project, self.name, self._problems = project, name, problems
        self.service: Service = project.services[name]

    def refuse(self, path: Path, why: str) -> None:
        self._problems.refuse(("services", self.name, *path), why)

    def tell(self, path: Path, why: str) -> None:
        self._problems.tell(("services", self.name, *path), why)

    @property
    def image(self) -> str:
        """The image's reference; a service that is only built names its image after itself."""
        return self.service.image or f"{self.project.name}-{self.name}"


def dotted(path: Path) -> str:
    """services.web.ports[0]"""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text
