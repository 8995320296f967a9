"""A container's file system as a tar archive: the files of its image and its own, without mounts."""

from __future__ import annotations

import os

from engine.container.filesystem import alone
from engine.errors import OperationFailed
from engine.image.images import ImageStore
from engine.image.layer.pack import pack
from engine.image.merged import merged
from engine.poll import write_all
from engine.spec.state import ContainerRecord


def export(images: ImageStore, record: ContainerRecord, output: int) -> None:
    """See composer.run.port.Streams.export. As in Docker, entries have no "./" in front, and the root has none."""
    with alone(images, record) as root:
        tree = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root)
        try:
            pack(tree, Writer(output), whiteouts=False, live=True)
        finally:
            os.close(tree)


def export_image(images: ImageStore, reference: str, output: int) -> None:
    """See composer.run.port.Streams.export_image. Entries have no "./" in front; an image without
    layers gives an empty archive."""
    layers = [f"{images.store.roots.layers}/{layer}/diff" for layer in images.need(reference).layers]
    write = Writer(output)
    if not layers:
        write(bytes(2 * 512))  # the end of an archive (pax(1))
        return
    with merged(layers) as root:
        pack(root, write, whiteouts=False)


class Writer:
    """Complete writes to a descriptor. Raises BrokenPipeError when there is no reader any longer, otherwise OperationFailed."""

    def __init__(self, output: int) -> None:
        self.output = output

    def __call__(self, data: bytes) -> None:
        try:
            write_all(self.output, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OperationFailed.of("write", "the archive", error) from error
