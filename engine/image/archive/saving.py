"""Writing images into an archive."""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import msgspec
from msgspec import Struct

from engine.errors import Corrupt, NotFound
from engine.image import manifest, platform, reference
from engine.image.blobs import digest_of
from engine.image.images import ImageStore
from engine.image.layer.compression import CHUNK, chunks
from engine.image.layer.pieces import file_of
from engine.image.layer.pipeline import Hashed, packed
from engine.image.layer_blob import Compression, blob_of
from engine.image.layers import Layer
from engine.image.publication import publish
from engine.image.variants import platform_of
from engine.spec.image import ImageRecord, SavedImage

NAME, TAG = "io.containerd.image.name", "org.opencontainers.image.ref.name"


class Entry(Struct, rename="pascal", kw_only=True):
    """One image in manifest.json."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str]


def save(
    images: ImageStore,
    wanted: Sequence[str | SavedImage],
    out: IO[bytes],
    *,
    platforms: Sequence[str] = (),
    docker: bool = True,
    compression: str = "",
) -> None:
    """Write images, by default for all platforms that their names have. A name without a tag means all tags of the
    repository. `docker`: with the list that Docker reads. `compression` (gzip, zstd) applies to layers, "" for none.
    Raises NotFound, Corrupt (the content of a layer no longer matches its diff_id)."""
    chosen = [one for name in wanted for one in _chosen(images, name, platforms)]
    file: Any = _Out(out)
    with tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, copybufsize=CHUNK) as tar:
        archive = _Archive(images, tar, compression)
        for own, tags, others in chosen:
            archive.save(own, tags, others)
        index = manifest.Index(schema_version=2, media_type=manifest.OCI_INDEX, manifests=archive.descriptors)
        archive.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        archive.add("index.json", msgspec.json.encode(index))
        if docker:
            archive.add("manifest.json", msgspec.json.encode(list(archive.entries.values())))


_Chosen = tuple[ImageRecord, Sequence[str], Mapping[str, str]]


def _chosen(images: ImageStore, wanted: str | SavedImage, platforms: Sequence[str]) -> list[_Chosen]:
    if isinstance(wanted, SavedImage):
        tags = [str(reference.parse(tag)) for tag in wanted.tags]
        return [_for_platforms(images, images.need(wanted.id), tags, wanted.variants, platforms)]
    names = _tags_of(images, wanted)
    if not names:
        record = images.need(wanted)
        return [_for_platforms(images, record, (), {}, platforms)]
    return [_for_platforms(images, images.need(name), (name,), images.variants(name), platforms) for name in names]


def _tags_of(images: ImageStore, name: str) -> list[str]:
    """The tags that a name refers to; none for an id or a digest reference."""
    record = images.get(name)
    if record is not None and name.removeprefix("sha256:") in record.id:
        return []
    parsed = reference.parse(name)
    if parsed.digest:
        return []
    if record is None or ":" not in name.rpartition("/")[2]:
        whole = sorted({tag for one in images.all() for tag in one.tags if reference.parse(tag).name == parsed.name})
        if ":" not in name.rpartition("/")[2] and whole:
            return whole
    return [str(parsed)]


def _for_platforms(
    images: ImageStore, own: ImageRecord, tags: Sequence[str], others: Mapping[str, str], platforms: Sequence[str]
) -> _Chosen:
    """The same for some platforms; the first of them is the image's own then. Raises NotFound."""
    if not platforms:
        return own, tags, others
    there = {str(platform_of(own)): own.id, **others}
    found: dict[str, str] = {}
    for text in platforms:
        requested = platform.parse(text)
        match = next((one for one in there if requested.runs(platform.parse(one))), None)
        if match is None:
            subject = reference.parse(tags[0]).familiar if tags else own.id
            raise NotFound(
                "image", f"{subject} for platform {text}", hint=f"The local image is for {', '.join(there)}."
            )
        found[match] = there[match]
    first, *_ = found.values()
    return images.need(first), tags, {text: one for text, one in found.items() if one != first}


class _Archive:
    """A `publication.Destination` in a tar stream."""

    def __init__(self, images: ImageStore, tar: tarfile.TarFile, compression: str) -> None:
        self.images, self._tar, self._compression = images, tar, compression
        self._written: set[str] = set()
        self.entries: dict[str, Entry] = {}
        self.descriptors: list[manifest.Descriptor] = []

    def save(self, own: ImageRecord, tags: Sequence[str], others: Mapping[str, str]) -> None:
        top = publish(self.images, own, others, self, names=tags)
        self.put_manifest(top.body, top.media_type)
        entry = self.entries.setdefault(
            own.id,
            Entry(
                config=_blob(own.id),
                repo_tags=[],
                layers=[_blob(layer.digest) for layer in top.manifests[own.id].layers],
            ),
        )
        assert entry.repo_tags is not None
        entry.repo_tags += [
            tag for tag in (reference.parse(one).familiar for one in tags) if tag not in entry.repo_tags
        ]
        for tag in tags or ("",):
            one = manifest.Descriptor(
                media_type=top.media_type,
                digest=top.digest,
                size=len(top.body),
                annotations={NAME: tag, TAG: tag.rpartition(":")[2]} if tag else {},
            )
            if one not in self.descriptors:
                self.descriptors.append(one)

    # -- engine.image.publication.Destination

    def layers(self, image: ImageRecord) -> list[manifest.Descriptor]:
        layers = self.images.layers.need(self.images.chain(image.id))
        return [self._compressed(layer) if self._compression else self._layer(layer) for layer in layers]

    def put_blob(self, digest: str, content: bytes) -> None:
        self.add(_blob(digest), content)

    def put_manifest(self, body: bytes, media_type: str) -> None:
        self.put_blob(digest_of(body), body)

    def refers(self, descriptor: manifest.Descriptor, subject: manifest.Descriptor) -> None:
        pass  # the index refers to it

    # -- the stream

    def add(self, name: str, data: bytes) -> None:
        if name not in self._written:
            self._written.add(name)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))

    def _compressed(self, layer: Layer) -> manifest.Descriptor:
        """Write the layer as a compressed blob: an existing one in any format, or a new one."""
        found = blob_of(self.images, layer, Compression(self._compression))
        name = _blob(found.digest)
        if name not in self._written:
            with open(self.images.blobs.path(found.digest), "rb") as file:
                self._add_stream(name, found.size, file)
        return found

    def _layer(self, layer: Layer) -> manifest.Descriptor:
        """Write the layer's uncompressed stream, unless the archive has it."""
        name, size = _blob(layer.diff_id), layer.stream
        if size and name not in self._written:
            self._add_stream(name, size, _stream(self.images, layer))
        elif not size:  # recorded by an older composer
            with tempfile.TemporaryFile(dir=self.images.store.roots.state) as file:
                shutil.copyfileobj(_stream(self.images, layer), file, CHUNK)
                size = file.tell()
                if name not in self._written:
                    file.seek(0)
                    self._add_stream(name, size, file)
        return manifest.Descriptor(media_type=manifest.OCI_LAYER, digest=layer.diff_id, size=size)

    def _add_stream(self, name: str, size: int, file: IO[bytes]) -> None:
        self._written.add(name)
        info = tarfile.TarInfo(name)
        info.size = size
        self._tar.addfile(info, file)
        if file.read(1):  # verifies the digest as well
            raise Corrupt(f"{name} is longer than the {size} bytes that were recorded")


class _Out:
    """What tarfile needs of a file that is written from its start; a pipe cannot tell its position."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._written = file, 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written


def _stream(images: ImageStore, layer: Layer) -> IO[bytes]:
    """The layer's uncompressed stream, from its blob or packed again. Reading its end raises Corrupt if it is not what
    its diff_id says."""
    return file_of(_pieces(images, layer))


def _pieces(images: ImageStore, layer: Layer) -> Iterator[bytes]:
    if layer.blob and images.blobs.has(layer.blob):
        with open(images.blobs.path(layer.blob), "rb") as blob:
            hashed = Hashed(chunks(blob, layer.blob))
            yield from hashed
    else:
        root_entry = images.layers.root_changed(layer)
        hashed = Hashed(packed(images.layers.path(layer.folder), root_entry=root_entry))
        yield from hashed
    if hashed.digest != layer.diff_id:
        raise Corrupt(
            f"layer {layer.folder} no longer has the digest {layer.diff_id}", hint="Pull or build its image again."
        )


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
