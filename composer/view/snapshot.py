"""An engine for repeated reads, such as the image of each container in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from composer.run.port import Engine
    from engine.spec.image import ImageRecord
    from engine.spec.network import NetworkRecord, VolumeRecord


class Snapshots:
    """Snapshots of `engine`, one for each of its shared versions. For one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._version: object = None
        self._latest = self._engine

    def latest(self) -> Engine:
        """The engine; images, networks and volumes are read once until one of them changes."""
        version = self._engine.shared_version()
        if version is None or version != self._version:
            self._version, self._latest = version, _Snapshot(self._engine)  # type: ignore[assignment]
        return self._latest


class _Snapshot:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._images: dict[str, ImageRecord | None] = {}
        self._networks: list[NetworkRecord] | None = None
        self._volumes: list[VolumeRecord] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def image(self, reference: str) -> ImageRecord | None:
        if reference not in self._images:
            self._images[reference] = self._engine.image(reference)
        return self._images[reference]

    def networks(self) -> list[NetworkRecord]:
        if self._networks is None:
            self._networks = self._engine.networks()
        return list(self._networks)

    def volumes(self) -> list[VolumeRecord]:
        if self._volumes is None:
            self._volumes = self._engine.volumes()
        return list(self._volumes)
