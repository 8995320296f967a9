"""Create an image from a container: its image's layers, its changes, and a configuration from its specification."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.container import bundle
from engine.image import commit as committing
from engine.image.images import ImageStore
from engine.paths import make_seen
from engine.spec.container import ContainerSpec, Healthcheck
from engine.spec.image import ImageConfig, ImageRecord
from engine.spec.state import ContainerRecord


def commit(
    images: ImageStore,
    record: ContainerRecord,
    reference: str,
    *,
    author: str = "",
    message: str = "",
    amend: Callable[[ImageConfig], ImageConfig] = lambda config: config,
) -> ImageRecord:
    """See composer.run.port.Streams.commit. `amend` changes the configuration derived from the container."""
    image = images.need(record.spec.image)
    upper = f"{images.store.roots.container(record.group, record.id)}/upper"
    make_seen(upper)  # a container that was never started has no changes
    config = _configuration(record.spec, image)
    return committing.commit(
        images,
        image.id,
        upper,
        tags=[reference] if reference else [],
        config=amend(config),
        author=author,
        message=message,
        created_by=" ".join(config.command),
    )


def _configuration(spec: ContainerSpec, image: ImageRecord) -> ImageConfig:
    """The image's configuration with the container's settings, as with `docker commit`."""
    base = image.config
    exposed = {*base.exposed_ports, *(port if "/" in port else f"{port}/tcp" for port in spec.expose)}
    exposed |= {f"{port.container_port}/{port.protocol}" for port in spec.ports}
    entrypoint = base.entrypoint if spec.entrypoint is None else spec.entrypoint
    inherited = () if spec.entrypoint else base.command
    return msgspec.structs.replace(
        base,
        user=spec.user or base.user,
        environment=tuple(f"{key}={value}" for key, value in bundle.environment(spec, image).items()),
        entrypoint=entrypoint,
        command=inherited if spec.command is None else spec.command,
        working_dir=spec.working_dir or base.working_dir,
        exposed_ports=tuple(sorted(exposed)),
        labels={**base.labels, **spec.labels},
        stop_signal=spec.stop_signal or base.stop_signal,
        healthcheck=_healthcheck(spec.healthcheck, base.healthcheck),
    )


def _healthcheck(own: Healthcheck | None, images: Healthcheck | None) -> Healthcheck | None:
    """Field by field: unset fields are the image's."""
    if own is None or images is None:
        return own or images
    fields = {name: getattr(own, name) for name in own.__struct_fields__ if getattr(own, name) is not None}
    return msgspec.structs.replace(images, **fields)
