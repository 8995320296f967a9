"""Copying an image with all its platforms from one repository to another, without unpacking it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from engine.image import manifest, reference
from engine.image.blobs import BlobStore
from engine.registry.client import Client

_READ = 1 << 20


def copy(image: str, target: Client, blobs: BlobStore, insecure: Collection[str] = ()) -> manifest.Descriptor:
    """Copy `image` into the repository of `target`, by digest; returns its descriptor. Blobs of the same registry are
    mounted; others pass through the blob store. Raises the errors of a pull and a push."""
    source = Client(reference.parse(image), insecure=insecure)
    return _manifest(source, source.reference.pinned, target, blobs)


def _manifest(source: Client, pinned: str, target: Client, blobs: BlobStore) -> manifest.Descriptor:
    body, media_type, digest = source.manifest(pinned)
    found = manifest.parse(body, media_type, source.reference.familiar)
    if isinstance(found, manifest.Index):
        for entry in found.manifests:
            _manifest(source, entry.digest, target, blobs)
    else:
        for blob in (found.config, *found.layers):
            _blob(source, blob, target, blobs)
    declared = found.media_type or media_type
    target.put_manifest(digest, body, declared)
    return manifest.Descriptor(media_type=declared, digest=digest, size=len(body))


def _blob(source: Client, blob: manifest.Descriptor, target: Client, blobs: BlobStore) -> None:
    if target.has_blob(blob.digest):
        return
    same = source.reference.registry == target.reference.registry
    if same and target.mount_blob(blob.digest, source.reference.repository):
        return
    if not blobs.has(blob.digest, blob.size):
        with blobs.writer(blob.digest, blob.size) as writer:
            source.fetch(writer)

    def content(offset: int) -> Iterator[bytes]:
        with open(blobs.path(blob.digest), "rb") as file:
            file.seek(offset)
            while data := file.read(_READ):
                yield data

    target.upload(blob.digest, blob.size, content)
