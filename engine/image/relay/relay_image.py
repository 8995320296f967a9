"""The image of the program that forwards connections to the endpoints of provided services (forward.c)."""

from __future__ import annotations

import io
import os
import tarfile

from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.image.relay.forward_program import PROGRAMS, SOURCE
from engine.spec.image import ImageConfig

USER = "65532:65532"
"""An unused id: the program needs no rights."""


def relay_image(images: ImageStore) -> str:
    """The image's name, which changes with the program. The image is created if it does not exist. Raises EngineError."""
    name = f"composer/relay:{SOURCE[:12]}"
    if images.get(name) is None:
        import_rootfs(
            images,
            io.BytesIO(_archive()),
            tags=[name],
            config=ImageConfig(entrypoint=("/relay",), user=USER),
            subject="composer",
        )
    return name


def _archive() -> bytes:
    program = bytes.fromhex(PROGRAMS[os.uname().machine])
    entry = tarfile.TarInfo("relay")
    entry.mode, entry.size = 0o755, len(program)
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(program))
    return written.getvalue()
