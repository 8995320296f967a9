"""Images in one tar file, as `docker save` writes and `docker load` reads them.

blobs/sha256/<hex>   configuration blobs and layers (uncompressed tar streams, named by their diff_id)
manifest.json        Docker's list: configuration, tags, layers
oci-layout, index.json   the same for OCI tools (OCI image specification, image-layout.md)
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from typing import IO

import msgspec
from msgspec import Struct

from engine.errors import Corrupt, ImageError
from engine.image import config as image_config
from engine.image import lease, manifest, reference
from engine.image.blobs import digest_of
from engine.image.images import ImageStore
from engine.image.layer.compression import chunks
from engine.image.layer.pack import pack
from engine.image.layer.pipeline import Hashed
from engine.image.layer.unpack import unpack
from engine.image.layers import Layer
from engine.spec.image import ImageRecord

_SMALL = 8 << 20
_NAME, _TAG = "io.containerd.image.name", "org.opencontainers.image.ref.name"


class _Entry(Struct, rename="pascal", kw_only=True):
    """One image in manifest.json."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str]


_decode = msgspec.json.Decoder(list[_Entry]).decode


def save(images: ImageStore, names: Sequence[str], out: IO[bytes]) -> None:
    """Write the images with these names. Raises NotFound, Corrupt (the content of a layer no longer matches its diff_id)."""
    entries: list[_Entry] = []
    manifests: list[manifest.Descriptor] = []
    written: set[str] = set()
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            entry, found = _save_image(images, name, tar, written)
            entries.append(entry)
            manifests += found
        index = manifest.Index(schema_version=2, media_type=manifest.OCI_INDEX, manifests=manifests)
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}', written)
        _add(tar, "index.json", msgspec.json.encode(index), written)
        _add(tar, "manifest.json", msgspec.json.encode(entries), written)


def _save_image(
    images: ImageStore, name: str, tar: tarfile.TarFile, written: set[str]
) -> tuple[_Entry, list[manifest.Descriptor]]:
    """Write its blobs; returns its entry for manifest.json, and those for index.json, one for each tag."""
    record = images.need(name)
    config = images.blobs.read(record.id)
    layers = images.layers.need(images.chain(record.id))
    descriptors = [_save_layer(images, layer, tar, written) for layer in layers]
    _add(tar, _blob(record.id), config, written)
    body = msgspec.json.encode(
        manifest.Manifest(
            schema_version=2,
            media_type=manifest.OCI_MANIFEST,
            config=manifest.Descriptor(media_type=manifest.OCI_CONFIG, digest=record.id, size=len(config)),
            layers=descriptors,
        )
    )
    _add(tar, _blob(digest_of(body)), body, written)
    is_id = name.removeprefix("sha256:") in record.id
    tags = () if is_id else (str(reference.parse(name)),)
    entry = _Entry(
        config=_blob(record.id),
        repo_tags=[reference.parse(tag).familiar for tag in tags],
        layers=[_blob(descriptor.digest) for descriptor in descriptors],
    )
    return entry, [
        manifest.Descriptor(
            media_type=manifest.OCI_MANIFEST,
            digest=digest_of(body),
            size=len(body),
            annotations={
                "io.containerd.image.name": tag,
                "org.opencontainers.image.ref.name": tag.rpartition(":")[2],
            },
        )
        for tag in tags or ("",)
    ]


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _add(tar: tarfile.TarFile, name: str, data: bytes, written: set[str]) -> None:
    if name not in written:
        written.add(name)
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def _save_layer(images: ImageStore, layer: Layer, tar: tarfile.TarFile, written: set[str]) -> manifest.Descriptor:
    """Write the layer's uncompressed stream, from the blob that was pulled or packed again, and verify its diff_id."""
    with tempfile.TemporaryFile(dir=images.store.roots.state) as file:
        found = hashlib.sha256()

        def write(data: bytes) -> None:
            found.update(data)
            file.write(data)

        if layer.blob and images.blobs.has(layer.blob):
            with open(images.blobs.path(layer.blob), "rb") as blob:
                for piece in chunks(blob, layer.blob):
                    write(piece)
        else:
            root = os.open(images.layers.path(layer.folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                pack(root, write)
            finally:
                os.close(root)
        if f"sha256:{found.hexdigest()}" != layer.diff_id:
            raise Corrupt(f"layer {layer.folder} is no longer {layer.diff_id}", hint="Pull or build its image again.")
        size = file.tell()
        name = _blob(layer.diff_id)
        if name not in written:
            written.add(name)
            info = tarfile.TarInfo(name)
            info.size = size
            file.seek(0)
            tar.addfile(info, file)
    return manifest.Descriptor(media_type=manifest.OCI_LAYER, digest=layer.diff_id, size=size)


def load(images: ImageStore, file: IO[bytes]) -> list[ImageRecord]:
    """Store the images of an archive made by `docker save`; `file` must be seekable and uncompressed. The images get the
    archive's tags. Every layer's diff_id is verified. Raises ImageError, Corrupt."""
    try:
        with lease.adding(images.store.roots), tarfile.open(fileobj=file, mode="r:") as tar:
            members = {member.name.removeprefix("./"): member for member in tar}
            entries = _decode(_member(tar, members, "manifest.json"))
            return [_load_one(images, tar, members, entry) for entry in entries]
    except (tarfile.TarError, msgspec.MsgspecError) as error:
        raise ImageError(f"not an image archive: {error}") from error


def load_stream(images: ImageStore, file: IO[bytes]) -> list[ImageRecord]:
    """Like `load`, for an archive that may be compressed and is not seekable. It is copied beside the store first."""
    with tempfile.TemporaryFile(dir=images.store.roots.state) as whole:
        for data in chunks(file, "the image archive"):
            whole.write(data)
        whole.seek(0)
        return load(images, whole)


def _member(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> bytes:
    with _open(tar, members, name) as file:
        if (size := members[name].size) > _SMALL:
            raise ImageError(f"{name} in the archive has {size} bytes, more than {_SMALL}")
        return file.read()


def _open(tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> IO[bytes]:
    member = members.get(name)
    # Old archives name a layer that two images share once, and link to it.
    found = tar.extractfile(member) if member and (member.isreg() or member.issym() or member.islnk()) else None
    if found is None:
        raise ImageError(f"not an image archive: it has no {name}")
    return found


def _load_one(
    images: ImageStore, tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], entry: _Entry
) -> ImageRecord:
    file = _member(tar, members, entry.config)
    diff_ids = image_config.decode(file, entry.config).rootfs.diff_ids or []
    if len(diff_ids) != len(entry.layers):
        raise Corrupt(f"{entry.config}: {len(entry.layers)} layers, but {len(diff_ids)} diff_ids")
    parent: Layer | None = None
    chain = image_config.chain_ids(diff_ids)
    for chain_id, diff_id, name in zip(chain, diff_ids, entry.layers, strict=True):
        layer = images.layers.get(chain_id)
        if layer is None:
            with contextlib.closing(_open(tar, members, name)) as stream:
                layer = _load_layer(images, stream, parent, chain_id, diff_id)
        parent = layer
    tags = [str(reference.parse(tag)) for tag in _tags(entry.repo_tags)]
    return msgspec.structs.replace(images.record(file, chain, tags=tags), tags=tuple(tags))


def _tags(tags: Iterable[str] | None) -> list[str]:
    return [tag for tag in tags or () if "<none>" not in tag]


def _load_layer(images: ImageStore, stream: IO[bytes], parent: Layer | None, chain_id: str, diff_id: str) -> Layer:
    """Unpack one layer, and keep its stream as a blob, because packing it again would not give the same bytes."""
    with images.layers.draft(parent.folder if parent else "") as draft, images.blobs.ingest() as blob:

        def both() -> Iterable[bytes]:
            for piece in chunks(stream, diff_id):
                blob.write(piece)
                yield piece

        hashed = Hashed(iter(both()))
        done = unpack(iter(hashed), draft.fd, f"layer {diff_id[7:19]}")
        if hashed.digest != diff_id:
            raise Corrupt(f"a layer of the archive has the diff_id {hashed.digest}; expected {diff_id}")
        return images.layers.commit(draft, chain_id=chain_id, diff_id=diff_id, size=done.size, blob=diff_id)
