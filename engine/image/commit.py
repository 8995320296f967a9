"""Creating an image from a container (`docker commit`): the layers of its image, and a layer with its changes."""

from __future__ import annotations

from collections.abc import Iterable

from engine.image import config as image_config
from engine.image import lease
from engine.image.images import ImageStore, now
from engine.image.layer.pipeline import packed
from engine.image.layer.unpack import unpack
from engine.image.layer_add import seal
from engine.spec.image import ImageConfig, ImageRecord


def commit(
    images: ImageStore,
    base: str,
    upper: str,
    *,
    tags: Iterable[str] = (),
    config: ImageConfig | None = None,
    author: str = "",
    message: str = "",
    created_by: str = "",
) -> ImageRecord:
    """Record the image `base` with the changes in the folder `upper` as a new one, with `config` instead of the base's.

    `created_by` is the command that made the changes, for the history.
    `upper` is only read, and may belong to a running container. Raises NotFound, OperationFailed.
    """
    with lease.adding(images.store.roots):
        file = images.file(base)
        chain = images.chain(base)
        layers = images.layers.need(chain)
        parent = layers[-1] if layers else None
        with images.layers.draft(parent.folder if parent else "") as draft:
            unpack(packed(upper, live=True), draft.fd, "the container's changes")
            if draft.changed:
                layer = seal(images.layers, draft, parent)
                chain.append(layer.chain_id)
                file.rootfs.diff_ids = [*(file.rootfs.diff_ids or ()), layer.diff_id]
        file.created = now()
        file.author, file.parent = author, base
        if config is not None:
            file.config = image_config.raw(config)
        step = image_config.History(
            created=file.created, created_by=created_by, comment=message, empty_layer=len(chain) == len(layers)
        )
        file.history = [*(file.history or ()), step]
        return images.record(image_config.encode(file), chain, tags=tags, built=True)
