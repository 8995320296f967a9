"""The referrers of a manifest, in registries without the referrers API (distribution-spec 1.1, "Referrers Tag
Schema")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.errors import NotFound
from engine.image import manifest

if TYPE_CHECKING:
    from engine.registry.client import Client


def attach(client: Client, descriptor: manifest.Descriptor, subject: manifest.Descriptor) -> None:
    """Add `descriptor` to the index under the tag sha256-<hex of the subject>. Raises RegistryError, ImageError."""
    tag = subject.digest.replace(":", "-")
    found = manifest.Index(schema_version=2, media_type=manifest.OCI_INDEX, manifests=[])
    try:
        body, media_type, _ = client.manifest(tag)
        known = manifest.parse(body, media_type, f"referrers of {subject.digest}")
        found = known if isinstance(known, manifest.Index) else found
    except NotFound:
        pass
    if any(one.digest == descriptor.digest for one in found.manifests):
        return
    found.manifests.append(descriptor)
    client.put_manifest(tag, msgspec.json.encode(found), manifest.OCI_INDEX)
