"""Artifacts of small files: publishing and reading them (OCI image specification 1.1, manifest.md and image-index.md)."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from engine import rfc3339
from engine.errors import ImageError, NotFound, RegistryError
from engine.image import manifest, reference
from engine.image.blobs import BlobStore, digest_of
from engine.registry.client import Client
from engine.spec.artifact import ArtifactFile, ArtifactKind

VERSIONS = ("1.0", "1.1")
FILE_LIMIT = 16 << 20
"""Size limit of one file of an artifact, in bytes."""
WHOLE_LIMIT = 64 << 20
"""Size limit of all files of an artifact, in bytes."""
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_CREATED = "org.opencontainers.image.created"
_ACCESS = (401, 403, 407)
"""Statuses that concern the client, not the content."""


def read(
    name: str, kind: ArtifactKind, known: Callable[[str], bool], insecure: Collection[str] = ()
) -> tuple[str, list[ArtifactFile]]:
    """The digest of the artifact `name`, and its files; no files if the digest is `known`. If the name refers to an
    index, the artifact is the entry of that kind. Raises BadReference, NotFound, RegistryError, ImageError, Corrupt."""
    client = Client(reference.parse(name), insecure=insecure)
    body, media_type, digest = client.manifest(client.reference.pinned)
    if known(digest):
        return digest, []
    found = manifest.parse(body, media_type, name)
    if isinstance(found, manifest.Index):
        entry = next((one for one in found.manifests if one.artifact_type == kind.type), None)
        if entry is None:
            raise ImageError(f"the index {name} lists no artifact of type {kind.type}")
        body, media_type, _ = client.manifest(entry.digest)
        found = manifest.parse(body, media_type, name)
    if isinstance(found, manifest.Index) or (found.artifact_type or found.config.media_type) not in (
        kind.type,
        kind.config,
    ):
        found_type = "an index" if isinstance(found, manifest.Index) else found.artifact_type or found.config.media_type
        raise ImageError(f"{name} is not an artifact of type {kind.type}, but {found_type}")
    if max((layer.size for layer in found.layers), default=0) > FILE_LIMIT:
        raise ImageError(f"{name}: a file is larger than {FILE_LIMIT >> 20} MiB")
    if sum(layer.size for layer in found.layers) > WHOLE_LIMIT:
        raise ImageError(f"{name}: its files are larger than {WHOLE_LIMIT >> 20} MiB in total")
    return digest, [
        ArtifactFile(
            media_type=layer.media_type, annotations=layer.annotations, content=client.blob(layer.digest, layer.size)
        )
        for layer in found.layers
    ]


class Publication:
    """One artifact to be published as `name`."""

    def __init__(self, name: str, kind: ArtifactKind, blobs: BlobStore, insecure: Collection[str] = ()) -> None:
        self.kind, self._blobs, self._insecure = kind, blobs, insecure
        self.reference = reference.parse(name)
        if self.reference.digest:
            raise ImageError(f"cannot publish {name}: a digest is not a valid target", hint="Name a tag.")
        self.client = Client(self.reference, "pull,push", insecure)

    def run(self, files: Sequence[ArtifactFile], version: str, warn: Callable[[str], None]) -> manifest.Descriptor:
        """Send the files and their manifest, and tag it. `version` "" is OCI 1.1, or 1.0 with a warning if the registry
        refuses that. Raises RegistryError, ImageError."""
        if version not in ("", *VERSIONS):
            raise ImageError(f"unsupported OCI version: {version}", hint=f"It is one of {', '.join(VERSIONS)}.")
        layers = [self._sent(file) for file in files]
        if version:
            return self._manifest(layers, version)
        try:
            return self._manifest(layers, "1.1")
        except (NotFound, RegistryError) as error:
            status = error.status if isinstance(error, RegistryError) else 404
            if not 400 <= status < 500 or status in _ACCESS:
                raise
            warn(f"{self.reference.registry} refuses an OCI 1.1 artifact ({error}); published as OCI 1.0")
            return self._manifest(layers, "1.0")

    def index(self, subject: manifest.Descriptor, images: Sequence[str], annotations: dict[str, str]) -> None:
        """Copy images into the artifact's repository, and list them in an index that refers to the artifact."""
        from engine.registry.copying import copy

        index = manifest.Index(
            schema_version=2,
            media_type=manifest.OCI_INDEX,
            manifests=[copy(image, self.client, self._blobs, self._insecure) for image in images],
            subject=subject,
            annotations=annotations,
        )
        body = msgspec.json.encode(index)
        self.client.put_manifest(digest_of(body), body, manifest.OCI_INDEX)

    def _sent(self, file: ArtifactFile) -> manifest.Descriptor:
        if len(file.content) > FILE_LIMIT:
            raise ImageError(f"a file of {self.reference.familiar} is larger than {FILE_LIMIT >> 20} MiB")
        digest = digest_of(file.content)
        self._put(digest, file.content)
        return manifest.Descriptor(
            media_type=file.media_type,
            digest=digest,
            size=len(file.content),
            annotations=file.annotations,
            data=base64.b64encode(file.content).decode(),
        )

    def _put(self, digest: str, content: bytes) -> None:
        if not self.client.has_blob(digest):
            self.client.upload(digest, len(content), lambda offset: [content[offset:]])

    def _manifest(self, layers: list[manifest.Descriptor], version: str) -> manifest.Descriptor:
        digest = digest_of(_EMPTY)
        self._put(digest, _EMPTY)
        modern = version == "1.1"
        config = manifest.Descriptor(
            media_type=_EMPTY_TYPE if modern else self.kind.config,
            digest=digest,
            size=len(_EMPTY),
            data=base64.b64encode(_EMPTY).decode(),
        )
        whole = manifest.Manifest(
            schema_version=2,
            media_type=manifest.OCI_MANIFEST,
            artifact_type=self.kind.type if modern else "",
            config=config,
            layers=layers,
            annotations={_CREATED: rfc3339.seconds(time.time())},
        )
        body = msgspec.json.encode(whole)
        if len(body) > manifest.MANIFEST_LIMIT:  # the copies of the files are for convenience (descriptor.md, `data`)
            whole.layers = [msgspec.structs.replace(layer, data="") for layer in layers]
            body = msgspec.json.encode(whole)
        self.client.put_manifest(self.reference.pinned, body, manifest.OCI_MANIFEST)
        return manifest.Descriptor(
            media_type=manifest.OCI_MANIFEST,
            digest=digest_of(body),
            size=len(body),
            artifact_type=self.kind.type if modern else "",
        )
