"""A whole project: the canonical mapping that `config --format json` prints, typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import Field, ValidationError

from composer.model.config import Config
from composer.model.element import Element
from composer.model.job import Job
from composer.model.model import LanguageModel
from composer.model.network import Network
from composer.model.secret import Secret
from composer.model.service import Service
from composer.model.volume import Volume

Path = tuple[str | int, ...]
"""Keys and indices from the top: ("services", "web", "ports", 0)."""

Where = Callable[[Path], str]
"""The position of a path in the user's files, "file:line:column"; "" if no file contains it."""


class ModelError(Exception):
    """The canonical mapping has a value of the wrong type; the message names each path and its position."""


class Loaded(Protocol):
    """The result of loading (composer.load.options.Loaded)."""

    name: str
    working_dir: str
    compose_files: tuple[str, ...]
    tree: Any
    disabled: Any
    disabled_jobs: Any
    environment: dict[str, str]
    contents: dict[tuple[str, str], str]
    hashes: dict[str, str]
    refused: dict[str, tuple[str, ...]]
    clashes: dict[str, dict[str, str]]

    def where(self, path: Path) -> str: ...


def nowhere(path: Path) -> str:
    return ""


class Project(Element):
    """`services` and `jobs` are the enabled ones, `disabled` and `disabled_jobs` those that no active profile enables.

    `environ` are the variables of the environment and of .env, which configs and secrets may name. `hashes`, `refused`
    and `clashes` are results of loading for services (composer.load.options.Loaded).
    """

    name: str
    services: dict[str, Service] = {}
    networks: dict[str, Network] = {}
    volumes: dict[str, Volume] = {}
    configs: dict[str, Config] = {}
    secrets: dict[str, Secret] = {}
    models: dict[str, LanguageModel] = {}
    jobs: dict[str, Job] = {}
    disabled: dict[str, Service] = {}
    disabled_jobs: dict[str, Job] = {}
    working_dir: str = ""
    compose_files: tuple[str, ...] = ()
    environ: dict[str, str] = Field(default={}, repr=False)
    hashes: dict[str, str] = Field(default={}, exclude=True)
    refused: dict[str, tuple[str, ...]] = Field(default={}, exclude=True)
    clashes: dict[str, dict[str, str]] = Field(default={}, exclude=True)
    where: Where = Field(default=nowhere, repr=False, exclude=True)

    @classmethod
    def from_loaded(cls, loaded: Loaded) -> Project:
        """The project of a loaded tree."""
        return cls.parse(
            loaded.tree,
            working_dir=loaded.working_dir,
            compose_files=loaded.compose_files,
            disabled=loaded.disabled,
            disabled_jobs=loaded.disabled_jobs,
            environ=loaded.environment,
            contents=loaded.contents,
            hashes=loaded.hashes,
            refused=loaded.refused,
            clashes=loaded.clashes,
            where=loaded.where,
        )

    @classmethod
    def parse(
        cls,
        tree: Mapping[str, Any],
        *,
        working_dir: str = "",
        compose_files: tuple[str, ...] = (),
        disabled: Mapping[str, Any] | None = None,
        disabled_jobs: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        contents: Mapping[tuple[str, str], str] | None = None,
        hashes: Mapping[str, str] | None = None,
        refused: Mapping[str, tuple[str, ...]] | None = None,
        clashes: Mapping[str, dict[str, str]] | None = None,
        where: Where = nowhere,
    ) -> Project:
        """The project in a canonical mapping. ModelError names every invalid value.

        `contents` are the texts of secrets and configs whose variables are not in `environ`: those of an included
        project with an environment of its own.
        """
        extra = {
            "working_dir": working_dir,
            "compose_files": compose_files,
            "disabled": dict(disabled or {}),
            "disabled_jobs": dict(disabled_jobs or {}),
            "environ": dict(environ or {}),
            "hashes": dict(hashes or {}),
            "refused": dict(refused or {}),
            "clashes": dict(clashes or {}),
            "where": where,
        }
        try:
            return cls.model_validate({**_elements(tree, contents or {}), **extra})
        except ValidationError as error:
            raise ModelError(_explain(error, where)) from error


def _elements(tree: Mapping[str, Any], contents: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """The top-level elements: null ones as empty mappings, and secrets and configs with their texts."""
    given = {key: value for key, value in tree.items() if key not in ("version", "include") and value is not None}
    for key in ("networks", "volumes", "configs", "secrets"):
        if isinstance(given.get(key), Mapping):
            given[key] = {name: {} if inner is None else inner for name, inner in given[key].items()}
    for (kind, name), text in contents.items():
        if name in given.get(kind, {}):
            given[kind] = {**given[kind], name: {**given[kind][name], "content": text}}
    return given


def _explain(error: ValidationError, where: Where) -> str:
    lines = []
    for problem in error.errors():
        path = tuple(part for part in problem["loc"])
        place = where(path)
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "no such key"
        lines.append(f"{place + ': ' if place else ''}{'.'.join(str(part) for part in path)}: {message}")
    return "\n".join(dict.fromkeys(lines))
