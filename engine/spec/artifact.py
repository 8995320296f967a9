"""Artifacts: content of a registry other than images (OCI image specification, manifest.md, "Guidelines for Artifact
Usage")."""

from msgspec import Struct


class ArtifactKind(Struct, frozen=True):
    """A type of artifact. `type` is OCI 1.1's `artifactType`; OCI 1.0 has no such field, and its manifests are
    recognized by the media type `config` of their empty configuration."""

    type: str
    config: str


class ArtifactFile(Struct, frozen=True, kw_only=True):
    """One layer of an artifact: a whole small file."""

    media_type: str
    annotations: dict[str, str]
    content: bytes
