"""Signatures as registries keep them, fetched for a digest.

Two places: the tag sha256-<hex>.sig (sigstore/cosign, specs/SIGNATURE_SPEC.md), and the referrers of the digest
(distribution-spec 1.1, "Listing Referrers", with the tag sha256-<hex> where a registry does not have the API).
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from engine import atomic
from engine.errors import Corrupt, ImageError, NotFound
from engine.image import manifest
from engine.paths import Roots, make_private
from engine.registry.client import Client

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle"
_ANNOTATION = "dev.cosignproject.cosign/signature"
_CERTIFICATE = "dev.sigstore.cosign/certificate"
_LOG_ENTRY = "dev.sigstore.cosign/bundle"
_BLOB_LIMIT = 4 << 20
_MOST = 64
"""Limit of signatures that are examined for one digest."""


class Signature(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`payload` is what was signed, or for a `bundle` of sigstore that JSON document; `log_entry` the record of the
    transparency log, JSON."""

    payload: bytes
    bundle: bool = False
    signature: str = ""
    certificate: str = ""
    log_entry: str = ""


_decode = msgspec.json.Decoder(dict[str, tuple[Signature, ...]]).decode


def fetch(client: Client, digest: str) -> list[Signature]:
    """The signatures that the registry has for a manifest. Raises RegistryError, Corrupt."""
    found: list[Signature] = []
    names = [digest.replace(":", "-") + ".sig"]
    names += [one.digest for one in client.referrers(digest) if _is_signature(one.artifact_type)]
    for name in names[:_MOST]:
        try:
            body, media_type, _ = client.manifest(name)
            parsed = manifest.parse(body, media_type, f"signature {name}")
        except (NotFound, ImageError) as error:
            if isinstance(error, Corrupt):
                raise
            continue
        if isinstance(parsed, manifest.Manifest):
            found += [one for layer in parsed.layers[:_MOST] if (one := _signature(client, layer))]
    return found


def _is_signature(artifact_type: str) -> bool:
    return not artifact_type or "cosign" in artifact_type or artifact_type.startswith(BUNDLE)


def _signature(client: Client, layer: manifest.Descriptor) -> Signature | None:
    bundle = layer.media_type.startswith(BUNDLE)
    if not bundle and layer.media_type != SIMPLE_SIGNING:
        return None
    if layer.size > _BLOB_LIMIT:
        return None
    payload = client.blob(layer.digest, layer.size)
    notes = layer.annotations
    return Signature(
        payload=payload,
        bundle=bundle,
        signature=notes.get(_ANNOTATION, ""),
        certificate=notes.get(_CERTIFICATE, ""),
        log_entry=notes.get(_LOG_ENTRY, ""),
    )


class Kept:
    """Signatures of images in the store, so that they can be verified again without their registry.

    A file for each digest that a tag or user named; it holds the signatures of that digest and of the manifest for this
    machine's platform, by digest.
    """

    def __init__(self, roots: Roots) -> None:
        self._folder = roots.signatures

    def _path(self, digest: str) -> str:
        return f"{self._folder}/{digest.removeprefix('sha256:')}.json"

    def read(self, digest: str) -> dict[str, tuple[Signature, ...]]:
        """Empty if there are none, or none is readable."""
        try:
            with open(self._path(digest), "rb") as file:
                return _decode(file.read())
        except (OSError, msgspec.MsgspecError):
            return {}

    def write(self, digest: str, found: dict[str, tuple[Signature, ...]]) -> None:
        make_private(self._folder)
        atomic.replace(self._path(digest), msgspec.json.encode(found))


def fetched(client: Client, digests: list[str]) -> dict[str, tuple[Signature, ...]]:
    """The signatures of an index and of the manifest for this machine's platform. Raises RegistryError, Corrupt."""
    return {digest: tuple(fetch(client, digest)) for digest in dict.fromkeys(digests)}
