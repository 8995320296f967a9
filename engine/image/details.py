"""An image's history, with the sizes of its layers, and what is attached to it."""

from __future__ import annotations

from engine.image import attached
from engine.image import config as image_config
from engine.image.images import ImageStore
from engine.spec.image import ImageDetails, ImageStep


def details(images: ImageStore, image_id: str) -> ImageDetails:
    """Read the configuration blob (OCI image specification, config.md). NotFound, Corrupt.

    Each step of the history that is not marked empty has the next layer's size, as long as there are layers.
    """
    file = images.file(image_id)
    sizes = iter([layer.size for layer in images.layers.need(images.chain(image_id))])
    history = tuple(
        ImageStep(
            created_at=image_config.timestamp(step.created),
            created_by=step.created_by,
            comment=step.comment,
            size=0 if step.empty_layer else next(sizes, 0),
        )
        for step in file.history or ()
    )
    extras = attached.read(images.store.roots, image_id)
    return ImageDetails(
        annotations=extras.manifest,
        attestations=tuple((one.predicate_type, one.predicate) for one in extras.attestations),
        author=file.author,
        parent=file.parent,
        comment=history[-1].comment if history else "",
        diff_ids=tuple(file.rootfs.diff_ids or ()),
        history=history,
    )
