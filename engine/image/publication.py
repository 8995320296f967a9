"""The published form of an image, in a registry or an archive: manifests, and an index if one is needed.

one platform, nothing attached      manifest
otherwise                           index → manifests, and manifests of attestations (engine.image.attached)
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Collection, Mapping
from typing import Protocol

import msgspec

from engine.errors import Corrupt
from engine.image import attached, manifest, platform, reference
from engine.image.blobs import digest_of
from engine.image.images import ImageStore
from engine.image.variants import platform_of
from engine.spec.image import ImageRecord


class Destination(Protocol):
    """The destination of the parts: each is stored after all that it refers to."""

    def layers(self, image: ImageRecord) -> list[manifest.Descriptor]:
        """Store the layers."""
        ...

    def put_blob(self, digest: str, content: bytes) -> None: ...

    def put_manifest(self, body: bytes, media_type: str) -> None:
        """Store a manifest under its digest."""
        ...

    def refers(self, descriptor: manifest.Descriptor, subject: manifest.Descriptor) -> None:
        """The stored manifest of `descriptor` refers to `subject`."""
        ...


class Published:
    """`body` is the manifest or index of the name, which the caller stores. `manifests`: each platform's, by its
    image's id."""

    __slots__ = ("body", "manifests", "media_type")

    def __init__(self, body: bytes, media_type: str, manifests: Mapping[str, manifest.Manifest]) -> None:
        self.body, self.media_type, self.manifests = body, media_type, manifests

    @property
    def digest(self) -> str:
        return digest_of(self.body)


def publish(
    images: ImageStore,
    own: ImageRecord,
    others: Mapping[str, str],
    destination: Destination,
    *,
    names: Collection[str] = (),
    alone: bool = False,
) -> Published:
    """Store an image and its variants for other platforms (platform → id), except for the manifest or index at the top.
    `names` are the references that attestations have as their subject. `alone`: without an index, and so without
    attestations. Raises NotFound, Corrupt."""
    chosen = {str(platform_of(own)): own} | {text: images.need(image_id) for text, image_id in others.items()}
    entries: list[manifest.Descriptor] = []
    referring: list[manifest.Descriptor] = []
    manifests: dict[str, manifest.Manifest] = {}
    notes: dict[str, str] = {}
    for text, image in chosen.items():
        extras = attached.read(images.store.roots, image.id)
        if alone:
            extras = attached.Attached(manifest=extras.manifest, layers=extras.layers)
        notes |= extras.index
        found = _image(images, image, extras, destination)
        manifests[image.id] = found
        body = msgspec.json.encode(found)
        entry = _entry(body, text, extras.manifest_descriptor)
        entries.append(entry)
        if len(chosen) == 1 and not (extras.attestations or notes or extras.manifest_descriptor):
            return Published(body, manifest.OCI_MANIFEST, manifests)
        destination.put_manifest(body, manifest.OCI_MANIFEST)
        if extras.attestations:
            referring.append(_attestations(extras, entry, _subjects(names, text), destination))
    index = manifest.Index(
        schema_version=2, media_type=manifest.OCI_INDEX, manifests=[*entries, *referring], annotations=notes
    )
    return Published(msgspec.json.encode(index), manifest.OCI_INDEX, manifests)


def _image(
    images: ImageStore, image: ImageRecord, extras: attached.Attached, destination: Destination
) -> manifest.Manifest:
    config = images.blobs.read(image.id)
    notes = _layer_notes(images, image, extras)
    layers = [_annotated(layer, notes) for layer in destination.layers(image)]
    destination.put_blob(image.id, config)
    return manifest.Manifest(
        schema_version=2,
        media_type=manifest.OCI_MANIFEST,
        config=manifest.Descriptor(media_type=manifest.OCI_CONFIG, digest=image.id, size=len(config)),
        layers=layers,
        annotations=extras.manifest,
    )


def _layer_notes(images: ImageStore, image: ImageRecord, extras: attached.Attached) -> dict[str, dict[str, str]]:
    """The annotations of the image's layers, by digest. Those of layers that a build took from another image are known
    with that image."""
    notes: dict[str, dict[str, str]] = {}
    for other in images.sharing(image.id):
        with contextlib.suppress(Corrupt):
            notes |= attached.read(images.store.roots, other).layers
    return notes | extras.layers


def _annotated(layer: manifest.Descriptor, notes: Mapping[str, dict[str, str]]) -> manifest.Descriptor:
    found = notes.get(layer.digest)
    return msgspec.structs.replace(layer, annotations=found) if found else layer


def _entry(body: bytes, text: str, notes: dict[str, str]) -> manifest.Descriptor:
    return manifest.Descriptor(
        media_type=manifest.OCI_MANIFEST,
        digest=digest_of(body),
        size=len(body),
        platform=manifest.platform_field(platform.parse(text)),
        annotations=notes,
    )


def _attestations(
    extras: attached.Attached, image: manifest.Descriptor, subjects: list[str], destination: Destination
) -> manifest.Descriptor:
    """Store the attestations of a manifest; the index's entry for them. By `subject` they are referrers as well
    (distribution-spec 1.1)."""
    layers = []
    for one in extras.attestations:
        body = attached.statement(one, subjects, image.digest)
        destination.put_blob(digest_of(body), body)
        layers.append(attached.layer(one, body))
    config = attached.configuration(layers)
    destination.put_blob(digest_of(config), config)
    subject = manifest.Descriptor(media_type=image.media_type, digest=image.digest, size=image.size)
    body = msgspec.json.encode(
        manifest.Manifest(
            schema_version=2,
            media_type=manifest.OCI_MANIFEST,
            artifact_type=attached.ARTIFACT,
            config=manifest.Descriptor(media_type=manifest.OCI_CONFIG, digest=digest_of(config), size=len(config)),
            layers=layers,
            subject=subject,
        )
    )
    destination.put_manifest(body, manifest.OCI_MANIFEST)
    made = manifest.Descriptor(
        media_type=manifest.OCI_MANIFEST,
        digest=digest_of(body),
        size=len(body),
        platform=manifest.platform_field(platform.Platform("unknown", "unknown")),
        annotations={
            attached.REFERENCE_DIGEST: image.digest,
            manifest.REFERENCE_TYPE: manifest.ATTESTATION,
        },
    )
    referrer = manifest.Descriptor(
        media_type=made.media_type, digest=made.digest, size=made.size, artifact_type=attached.ARTIFACT
    )
    destination.refers(referrer, subject)
    return made


def _subjects(names: Collection[str], text: str) -> list[str]:
    """Package URLs (purl-spec, type docker)."""
    suffix = "?platform=" + urllib.parse.quote(text, safe="")
    found = []
    for name in names:
        parsed = reference.parse(name)
        plain = parsed.familiar.partition("@")[0].removesuffix(f":{parsed.tag}" if parsed.tag else "")
        found.append(f"pkg:docker/{plain}" + (f"@{parsed.tag}" if parsed.tag else "") + suffix)
    return found
