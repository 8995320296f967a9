"""Importing a root file system's tar archive as an image of one layer (`docker import`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from engine.image import config as image_config
from engine.image import lease, platform
from engine.image.images import ImageStore, now
from engine.image.layer_add import add
from engine.spec.image import ImageConfig, ImageRecord


def import_rootfs(
    images: ImageStore,
    file: IO[bytes],
    *,
    tags: Iterable[str] = (),
    config: ImageConfig | None = None,
    subject: str = "rootfs",
    comment: str = "",
    created: str = "",
    wanted: str = "",
) -> ImageRecord:
    """Store the tar in `file` (compressed or not) as an image with `config` for the platform `wanted`, "" for this machine's.
    Raises Corrupt, Unsupported, InvalidSpec, OperationFailed; a failed import leaves nothing behind."""
    target = platform.parse(wanted)
    with lease.adding(images.store.roots):
        layer = add(images.layers, file, subject)
        created = created or now()
        image = image_config.ImageFile(
            created=created,
            architecture=target.architecture,
            variant=target.variant,
            os=target.os,
            config=image_config.raw(config or ImageConfig()),
            rootfs=image_config.RootFS(diff_ids=[layer.diff_id]),
            history=[image_config.History(created=created, comment=comment or f"imported from {subject}")],
        )
        return images.record(image_config.encode(image), [layer.chain_id], tags=tags)
