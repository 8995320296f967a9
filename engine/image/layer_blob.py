"""A layer as a blob: the one that was pulled, or else packed again and compressed once, which is kept."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from engine.errors import Corrupt, ImageError
from engine.image import manifest
from engine.image.layer.compression import detect
from engine.image.layer.gzip import deflate
from engine.image.layer.pack import pack

if TYPE_CHECKING:
    from engine.image.images import ImageStore
    from engine.image.layers import Layer

_TYPES = {"": manifest.OCI_LAYER, "gzip": f"{manifest.OCI_LAYER}+gzip", "zstd": f"{manifest.OCI_LAYER}+zstd"}
_ZSTD_LEVELS = range(1, 23)
_ZSTD_LEVEL = 3


class Compression(Struct, frozen=True):
    """How to compress layers that have no blob yet: gzip or zstd. `level` 0 selects the default; the level of gzip is fixed."""

    kind: str = "gzip"
    level: int = 0


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def blob_of(images: ImageStore, layer: Layer, compression: Compression) -> manifest.Descriptor:
    """The layer as a blob of the store; it is compressed now if it has none. Raises Corrupt, ImageError."""
    if layer.blob and images.blobs.has(layer.blob):
        return _descriptor(images, layer.blob)
    blob = compress(images, layer, compression)
    images.layers.set_blobs({layer.chain_id: blob.digest})
    return blob


def compress(images: ImageStore, layer: Layer, compression: Compression, *, synced: bool = True) -> manifest.Descriptor:
    """Pack the layer again as a blob, which is not recorded. With `synced` False, the blob need not be on disk.

    Raises Corrupt when the result does not match the diff_id: the content has changed, or a pulled layer had its entries in
    another order.
    """
    root_entry = images.layers.root_changed(layer)
    root = os.open(images.layers.path(layer.folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with images.blobs.ingest(synced=synced) as writer:
            plain = hashlib.sha256()
            compressor = _compressor(compression)

            def write(data: bytes) -> None:
                plain.update(data)
                writer.write(compressor.compress(data))

            pack(root, write, root_entry=root_entry)
            writer.write(compressor.flush())
            if f"sha256:{plain.hexdigest()}" != layer.diff_id:
                raise Corrupt(
                    f"layer {layer.folder} cannot be packed again as {layer.diff_id}",
                    hint="Pull or build its image again.",
                )
    finally:
        os.close(root)
    return _descriptor(images, writer.digest)


def _descriptor(images: ImageStore, digest: str) -> manifest.Descriptor:
    path = images.blobs.path(digest)
    with open(path, "rb") as file:
        media_type = _TYPES[detect(file.read(16))]
    return manifest.Descriptor(media_type=media_type, digest=digest, size=os.stat(path).st_size)


def _compressor(compression: Compression) -> _Compressor:
    if compression.kind == "gzip":
        return deflate()
    if compression.kind != "zstd":
        raise ImageError(f"unknown compression {compression.kind!r}: gzip, zstd")
    level = compression.level or _ZSTD_LEVEL
    if level not in _ZSTD_LEVELS:
        raise ImageError(f"invalid zstd level {level}: {_ZSTD_LEVELS[0]} to {_ZSTD_LEVELS[-1]}")
    import zstandard

    return zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
