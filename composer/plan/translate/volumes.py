"""The volumes of the project."""

from __future__ import annotations

from composer.model import Project
from composer.model.volume import Volume
from composer.plan import labels
from composer.plan.desired import DesiredVolume
from composer.plan.translate.scope import Problems
from composer.release import COMPOSE
from engine.spec.network import VolumeSpec


def engine_name(project: Project, key: str) -> str:
    return project.volumes[key].name or f"{project.name}_{key}"


def volumes(project: Project, problems: Problems) -> dict[str, DesiredVolume]:
    return {key: _volume(project, key, volume, problems) for key, volume in project.volumes.items()}


def _volume(project: Project, key: str, volume: Volume, problems: Problems) -> DesiredVolume:
    if not volume.external and volume.driver not in ("", "default", "local"):
        problems.refuse(("volumes", key, "driver"), f"{volume.driver!r} is not supported; supported: local")
    spec = VolumeSpec(
        name=engine_name(project, key),
        driver_opts=dict(volume.driver_opts),
        labels={
            **volume.labels,
            labels.PROJECT: project.name,
            labels.VOLUME: key,
            labels.VERSION: COMPOSE,
        },
    )
    return DesiredVolume(spec=spec, external=volume.external)
