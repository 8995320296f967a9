"""Reading images from an archive."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterable
from typing import IO

import msgspec

from engine.errors import Corrupt, ImageError, NotFound
from engine.image import config as image_config
from engine.image import lease, platform, reference
from engine.image.archive import first_format, layout
from engine.image.archive.members import Members
from engine.image.archive.saving import Entry
from engine.image.blobs import BlobWriter
from engine.image.images import ImageStore
from engine.image.layer.compression import chunks, detect
from engine.image.layer.pieces import file_of
from engine.image.layer_add import extract
from engine.image.layers import Layer
from engine.paths import make_private
from engine.spec.image import ImageRecord

_decode = msgspec.json.Decoder(list[Entry]).decode
_HEAD = 16
_PUSHED = ("", "gzip", "zstd")
"""Compressions that a layer in a registry may have."""


def load(images: ImageStore, file: IO[bytes], *, platforms: Iterable[str] = ()) -> list[ImageRecord]:
    """Store the images of an archive; `file` must be seekable and uncompressed. The images get the archive's tags. Every
    layer's diff_id is verified. With `platforms`, only images for these. Raises ImageError, Corrupt, NotFound."""
    wanted = [platform.parse(text) for text in platforms]
    try:
        with lease.adding(images.store.roots), tarfile.open(fileobj=file, mode="r:") as tar:
            members = Members(tar)
            records = _load(images, members, wanted)
    except (tarfile.TarError, msgspec.MsgspecError) as error:
        raise ImageError(f"not an image archive: {error}") from error
    if wanted and not records:
        raise NotFound("image", f"for platform {', '.join(map(str, wanted))} in the archive")
    return records


def _load(images: ImageStore, members: Members, wanted: list[platform.Platform]) -> list[ImageRecord]:
    if "manifest.json" in members:
        entries = _decode(members.read("manifest.json"))
        records = [
            _load_one(images, members, entry) for entry in entries if not wanted or _is_for(members, entry, wanted)
        ]
        if "index.json" in members:
            others = layout.load(images, members, wanted, known={record.id for record in records})
            records += [one for one in others if one.id not in {record.id for record in records}]
        return records
    if "index.json" in members:
        return layout.load(images, members, wanted)
    if "repositories" in members or any(name.endswith("/json") for name in members.names()):
        return first_format.load(images, members, _layer)
    raise ImageError("not an image archive: it has no manifest.json, index.json or repositories")


def load_stream(images: ImageStore, file: IO[bytes], *, platforms: Iterable[str] = ()) -> list[ImageRecord]:
    """Like `load`, for an archive that may be compressed, and may come through a pipe: then it is copied beside the store
    first."""
    make_private(images.store.roots.state)  # this may be the first command on the machine
    if file.seekable():
        start = file.tell()
        kind = detect(file.read(_HEAD))
        file.seek(start)
        if not kind:
            return load(images, file, platforms=platforms)
    with tempfile.TemporaryFile(dir=images.store.roots.state) as whole:
        for data in chunks(file, "the image archive"):
            whole.write(data)
        whole.seek(0)
        return load(images, whole, platforms=platforms)


def _is_for(members: Members, entry: Entry, wanted: list[platform.Platform]) -> bool:
    file = image_config.decode(members.read(entry.config), entry.config)
    found = platform.Platform(file.os, file.architecture, file.variant)
    return any(one.runs(found) for one in wanted)


def _load_one(images: ImageStore, members: Members, entry: Entry) -> ImageRecord:
    file = members.read(entry.config)
    diff_ids = image_config.decode(file, entry.config).rootfs.diff_ids or []
    if len(diff_ids) != len(entry.layers):
        raise Corrupt(f"{entry.config}: {len(entry.layers)} layers, but {len(diff_ids)} diff_ids")
    parent: Layer | None = None
    chain = image_config.chain_ids(diff_ids)
    for chain_id, diff_id, name in zip(chain, diff_ids, entry.layers, strict=True):
        layer = images.layers.get(chain_id)
        if layer is None:
            with members.open(name) as stream:
                layer = _layer(images, stream, parent, chain_id, diff_id)
        parent = layer
    tags = [str(reference.parse(tag)) for tag in entry.repo_tags or () if "<none>" not in tag]
    return msgspec.structs.replace(images.record(file, chain, tags=tags), tags=tuple(tags))


def _layer(images: ImageStore, stream: IO[bytes], parent: Layer | None, chain_id: str, diff_id: str) -> Layer:
    """Unpack one layer, and keep it as a blob, because packing it again would not produce the same bytes."""
    head = stream.read(_HEAD)
    kind = detect(head)
    if kind not in _PUSHED:
        stream.seek(0)
        head, stream, kind = b"", file_of(chunks(stream, f"layer {diff_id[7:19]} of the archive")), ""
    with images.layers.draft(parent.folder if parent else "") as draft:
        with images.blobs.ingest(digest="" if kind else diff_id, synced=False) as blob:
            done = extract(draft, _Kept(head, stream, blob), f"layer {diff_id[7:19]} of the archive", diff_id=diff_id)
        return images.layers.commit(
            draft, chain_id=chain_id, diff_id=diff_id, size=done.size, stream=done.stream, blob=blob.digest
        )


class _Kept:
    """A file that writes what is read from it, after `head`, to a blob."""

    def __init__(self, head: bytes, file: IO[bytes], blob: BlobWriter) -> None:
        self._head, self._file, self._blob = head, file, blob

    def read(self, size: int = -1) -> bytes:
        data, self._head = self._head or self._file.read(size), b""
        self._blob.write(data)
        return data
