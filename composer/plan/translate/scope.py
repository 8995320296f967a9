"""What the files of this folder work on: one service of a project, and the list of what cannot be done."""

from __future__ import annotations

from composer.model import Project, Service
from composer.model.project import Path


class TranslateError(Exception):
    """The project asks for what cannot be done. One line for each such key, with its place."""

    exit_code = 1


class Problems:
    """Refusals and warnings, each with the place of what it is about."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.refused: list[str] = []
        self.told: list[str] = []

    def refuse(self, path: Path, why: str) -> None:
        self.refused.append(self._line(path, why))

    def tell(self, path: Path, why: str) -> None:
        self.told.append(self._line(path, why))

    def _line(self, path: Path, why: str) -> str:
        name = dotted(path)
        place = self._project.where(path)
        return f"{place}: {name}: {why}" if place and place != name else f"{name}: {why}"

    def raise_all(self) -> None:
        if self.refused:
            raise TranslateError("\n".join(dict.fromkeys(self.refused)))


class Scope:
    """One service. Paths given to `refuse` are relative to it."""

    def __init__(self, project: Project, name: str, problems: Problems) -> None:
        self.project, self.name, self._problems = project, name, problems
        self.service: Service = project.services[name]

    def refuse(self, path: Path, why: str) -> None:
        self._problems.refuse(("services", self.name, *path), why)

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
