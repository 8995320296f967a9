"""An engine that is asked the same thing often for one answer, such as the image of each container of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from composer.run.port import Engine
    from engine.spec.image import ImageRecord
    from engine.spec.network import NetworkRecord, VolumeRecord


def snapshot(engine: Engine) -> Engine:
    """The engine; images, networks and volumes are read once. Keep it no longer than it takes to make the answer."""
    return _Snapshot(engine)  # type: ignore[return-value]


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
