"""Manifests and indexes, OCI and Docker schema 2, as typed structures.

Sources: OCI image specification (manifest.md, image-index.md, descriptor.md) and the distribution project's manifest-v2-2. All
input comes from registries: sizes and counts are limited, and digests are checked for their form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from engine.errors import Corrupt, ImageError, NotFound, Unsupported
from engine.image.platform import Platform
from engine.vocabulary import DIGEST

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

REFERENCE_TYPE, ATTESTATION = "vnd.docker.reference.type", "attestation-manifest"
"""The annotation of an index's entry that says what it is, and its value for attestations (BuildKit, "Image
attestation storage")."""

ACCEPTED = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
INDEX_DEPTH = 4
"""How deep indexes may be nested."""
MANIFEST_LIMIT = 4 << 20
"""Bytes a manifest may have; the distribution specification asks registries to accept at least 4 MiB."""
LAYER_LIMIT = 1000

_LAYER_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": "",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
    OCI_LAYER: "",
    f"{OCI_LAYER}+gzip": "gzip",
    f"{OCI_LAYER}+zstd": "zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
}
_DIGEST = re.compile(rf"{DIGEST}\Z")


class _PlatformField(Struct):
    os: str = "linux"
    architecture: str = ""
    variant: str = ""


def platform_field(platform: Platform) -> _PlatformField:
    """A platform in the form that descriptors use."""
    return _PlatformField(platform.os, platform.architecture, platform.variant)


class Descriptor(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Points at a blob: its media type, digest and size in bytes (descriptor.md). `data` may hold its content, as base64."""

    media_type: str = ""
    digest: str
    size: int
    platform: _PlatformField | None = None
    urls: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    data: str = ""
    artifact_type: str = ""


class Manifest(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """One platform's image: its configuration and its layers, lowest first; or an artifact of the type `artifact_type`,
    which may be about the manifest `subject`."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] = field(default_factory=dict)


class Index(Struct, rename="camel", kw_only=True, omit_defaults=True):
    """The same image for several platforms; or images that belong to the artifact `subject`."""

    schema_version: int
    media_type: str = ""
    manifests: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] = field(default_factory=dict)


class _Shape(Struct, rename="camel", kw_only=True):
    schema_version: int = 0
    media_type: str = ""
    manifests: msgspec.Raw = msgspec.Raw(b"")
    config: msgspec.Raw = msgspec.Raw(b"")
    layers: msgspec.Raw = msgspec.Raw(b"")


_decode_shape = msgspec.json.Decoder(_Shape).decode
_decode_index = msgspec.json.Decoder(Index).decode
_decode_manifest = msgspec.json.Decoder(Manifest).decode


def parse(body: bytes, media_type: str, subject: str) -> Manifest | Index:
    """The manifest or index in `body`, which the server called `media_type`; `subject` names it in errors.

    A body that is both is refused (CVE-2021-41190, type confusion). Raises ImageError, Unsupported.
    """
    if len(body) > MANIFEST_LIMIT:
        raise ImageError(f"{subject}: the manifest is larger than {MANIFEST_LIMIT} bytes")
    try:
        shape = _decode_shape(body)
        if shape.schema_version == 1 or media_type.startswith(DOCKER_SCHEMA_1):
            raise Unsupported(
                f"{subject}: image manifest schema 1 is not supported",
                hint="Rebuild or push the image again with a current tool.",
            )
        if shape.schema_version != 2:
            raise ImageError(f"{subject}: not an image manifest (schemaVersion {shape.schema_version})")
        is_index, is_manifest = bool(bytes(shape.manifests)), bool(bytes(shape.config) or bytes(shape.layers))
        if is_index and is_manifest:
            raise ImageError(f"{subject}: the manifest has both manifests and layers; it is refused as ambiguous")
        declared = (shape.media_type or media_type).partition(";")[0].strip()
        if is_index != (declared in (OCI_INDEX, DOCKER_LIST)) and declared in ACCEPTED:
            raise ImageError(f"{subject}: the manifest's content is not of its type {declared}")
        found = _decode(body, is_index)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"{subject}: not an image manifest: {error}") from error
    _check(found, subject)
    return found


def _decode(body: bytes, is_index: bool) -> Manifest | Index:
    return _decode_index(body) if is_index else _decode_manifest(body)


def compression(descriptor: Descriptor) -> str:
    """How a layer is compressed by its media type: "", gzip or zstd. Raises Unsupported for other kinds of content."""
    try:
        return _LAYER_TYPES[descriptor.media_type]
    except KeyError:
        hint = "It is an artifact, not a container image." if "image" not in descriptor.media_type else ""
        raise Unsupported(
            f"layer {descriptor.digest} is of the unsupported type {descriptor.media_type!r}", hint=hint
        ) from None


def select(index: Index, wanted: Platform, subject: str) -> Descriptor:
    """The manifest for platform `wanted`: an exact match, else the newest variant that runs there. Raises NotFound."""
    candidates: list[tuple[bool, str, Descriptor]] = []
    offered: list[str] = []
    for entry in index.manifests:
        if entry.platform is None or entry.annotations.get(REFERENCE_TYPE) == ATTESTATION:
            continue
        platform = Platform(entry.platform.os, entry.platform.architecture, entry.platform.variant)
        if platform.os == "unknown":
            continue
        offered.append(str(platform))
        if wanted.runs(platform):
            candidates.append((platform.variant == wanted.variant, platform.variant, entry))
    if candidates:
        best = max(candidates, key=lambda candidate: candidate[:2])
        return best[2]
    if len(index.manifests) == 1 and index.manifests[0].platform is None:
        return index.manifests[0]
    raise NotFound(
        "image", f"{subject} for platform {wanted}", hint=f"It exists for {', '.join(sorted(set(offered))) or 'none'}."
    )


def _check(found: Manifest | Index, subject: str) -> None:
    descriptors: Sequence[Descriptor] = found.manifests if isinstance(found, Index) else [found.config, *found.layers]
    if len(descriptors) > LAYER_LIMIT:
        raise ImageError(f"{subject}: the manifest names {len(descriptors)} blobs, more than {LAYER_LIMIT}")
    for descriptor in descriptors:
        if not _DIGEST.match(descriptor.digest):
            raise Unsupported(f"{subject}: the digest {descriptor.digest[:80]!r} is not a sha256 digest")
        if descriptor.size < 0:
            raise Corrupt(f"{subject}: blob {descriptor.digest} has the size {descriptor.size}")
