"""What an image has besides its configuration and layers: annotations, and attestations of how it was built.

Kept in <state>/attached/<hex of the image's id>.json. A push, and an archive, carry them in the form that BuildKit documents
("Image attestation storage"): the image's manifest and a manifest of its attestations in one index.
"""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct, field

from engine import atomic
from engine.errors import Corrupt, ImageError
from engine.image import manifest
from engine.image.blobs import digest_of
from engine.paths import Roots, make_private
from engine.vocabulary import PREDICATE_TYPE, STATEMENT_TYPE

ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
LIMIT = 32 << 20
"""Bytes of all statements about one image."""
MOST = 64
"""Statements about one image."""


class Attestation(Struct, frozen=True):
    """A statement about an image, without its subject (in-toto attestation framework, Statement)."""

    predicate_type: str
    predicate: msgspec.Raw


class Attached(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Annotations of the image's manifest, of its entry in the index, and of the index; the attestations; and, by
    digest, the annotations of layers' blobs: the tables of contents of zstd:chunked and eStargz blobs."""

    manifest: dict[str, str] = {}
    manifest_descriptor: dict[str, str] = {}
    index: dict[str, str] = {}
    layers: dict[str, dict[str, str]] = {}
    attestations: tuple[Attestation, ...] = ()


class _Subject(Struct):
    name: str
    digest: dict[str, str]


class _Statement(Struct, kw_only=True):
    type: str = field(name="_type", default="https://in-toto.io/Statement/v0.1")
    predicate_type: str = field(name="predicateType", default="")
    subject: list[_Subject] = []
    predicate: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(Attached).decode
_decode_statement = msgspec.json.Decoder(_Statement).decode


def read(roots: Roots, image_id: str) -> Attached:
    """Raises Corrupt."""
    path = roots.attached(image_id)
    try:
        with open(path, "rb") as file:
            return _decode(file.read())
    except FileNotFoundError:
        return Attached()
    except (OSError, msgspec.MsgspecError) as error:
        raise Corrupt(f"{path}: {error}", hint="Build or pull the image again.") from error


def write(roots: Roots, image_id: str, attached: Attached) -> None:
    """Replace the image's annotations and attestations."""
    if attached == Attached():
        try:
            os.unlink(roots.attached(image_id))
        except FileNotFoundError:
            pass
        return
    make_private(roots.attached())
    atomic.replace(roots.attached(image_id), msgspec.json.encode(attached), durable=True)


def statement(one: Attestation, subjects: list[str], digest: str) -> bytes:
    """The statement about the manifest `digest`; each subject is a package URL."""
    named = [_Subject(name, {"sha256": digest.removeprefix("sha256:")}) for name in subjects or ["_"]]
    return msgspec.json.encode(_Statement(predicate_type=one.predicate_type, subject=named, predicate=one.predicate))


def parse_statement(data: bytes, subject: str) -> Attestation:
    """Raises ImageError if the content is not an in-toto statement."""
    try:
        found = _decode_statement(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"{subject}: not an in-toto statement: {error}") from error
    return Attestation(found.predicate_type, msgspec.Raw(bytes(found.predicate)))


def layer(one: Attestation, body: bytes) -> manifest.Descriptor:
    """The descriptor of the statement `body` in an attestation's manifest."""
    return manifest.Descriptor(
        media_type=STATEMENT_TYPE,
        digest=digest_of(body),
        size=len(body),
        annotations={PREDICATE_TYPE: one.predicate_type},
    )


def configuration(layers: list[manifest.Descriptor]) -> bytes:
    """A valid configuration of an image that no machine can run, for tools that expect one."""
    return msgspec.json.encode(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )


def layers_of(found: manifest.Manifest) -> dict[str, dict[str, str]]:
    """The annotations of a manifest's layers."""
    return {layer.digest: layer.annotations for layer in found.layers if layer.annotations}


def of_index(index: manifest.Index, digest: str) -> manifest.Descriptor | None:
    """The manifest of the attestations that an index has for its manifest `digest`."""
    for entry in index.manifests:
        notes = entry.annotations
        if notes.get(manifest.REFERENCE_TYPE) == manifest.ATTESTATION and notes.get(REFERENCE_DIGEST) == digest:
            return entry
    return None
