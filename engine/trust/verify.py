"""Whether a signature satisfies a rule.

Two forms: cosign's (a payload of "simple signing" with its signature and certificate in annotations), and sigstore's
bundle with a DSSE envelope around an in-toto statement (sigstore/protobuf-specs, sigstore_bundle.proto;
secure-systems-lab/dsse, protocol.md). The signature is for a digest: as with cosign, the name of the image in the
payload is not compared.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from engine.trust import certificates, keys, log_entry, roots
from engine.trust.certificates import UntrustedError
from engine.trust.evidence import Signature
from engine.trust.log_entry import Entry
from engine.trust.policy import Rule
from engine.vocabulary import STATEMENT_TYPE

SIMPLE_TYPE = "cosign container image signature"
PREDICATE = "https://sigstore.dev/cosign/sign/v1"


class Signed(Struct, frozen=True, kw_only=True):
    """`digest` is the signed digest of the image; `message` are the signed bytes (for a log: its `content`)."""

    digest: str
    message: bytes
    content: bytes
    signature: bytes
    certificate: x509.Certificate | None = None
    entry: Entry | None = None


class _Image(Struct, rename="kebab"):
    docker_manifest_digest: str


class _Critical(Struct):
    image: _Image
    type: str


class _Simple(Struct):
    critical: _Critical


class _RawBytes(Struct, rename="camel"):
    raw_bytes: bytes


class _Chain(Struct, rename="camel"):
    certificates: list[_RawBytes] = []


class _LogId(Struct, rename="camel"):
    key_id: bytes


class _Promise(Struct, rename="camel"):
    signed_entry_timestamp: bytes


class _LogEntry(Struct, rename="camel"):
    log_id: _LogId
    log_index: str = "0"
    integrated_time: str = "0"
    inclusion_promise: _Promise | None = None
    canonicalized_body: str = ""


class _Material(Struct, rename="camel"):
    certificate: _RawBytes | None = None
    x509_certificate_chain: _Chain | None = None
    tlog_entries: list[_LogEntry] = []


class _EnvelopeSignature(Struct):
    sig: bytes


class _Envelope(Struct, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: list[_EnvelopeSignature]


class _Bundle(Struct, rename="camel"):
    verification_material: _Material
    dsse_envelope: _Envelope


class _Digests(Struct):
    sha256: str = ""


class _Subject(Struct):
    digest: _Digests


class _Statement(Struct, rename="camel"):
    subject: list[_Subject]
    predicate_type: str


_decode_simple = msgspec.json.Decoder(_Simple).decode
_decode_bundle = msgspec.json.Decoder(_Bundle).decode
_decode_statement = msgspec.json.Decoder(_Statement).decode


def signer(signature: Signature, digest: str, rule: Rule) -> str:
    """The signer of `digest` among those that the rule names: a key's file, or an identity. Raises UntrustedError,
    InvalidSpec."""
    try:
        found = _bundle(signature.payload) if signature.bundle else _simple(signature)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise UntrustedError(f"is malformed: {error}") from error
    if found.digest != digest:
        raise UntrustedError(f"is for {found.digest}")
    if found.certificate is not None and rule.identities:
        return _by_certificate(found, found.certificate, rule)
    return _by_key(found, rule)


def _by_key(found: Signed, rule: Rule) -> str:
    for name in rule.keys:
        key = keys.load(name)
        if not keys.signed(key, found.signature, found.message):
            continue
        if rule.trusted_root:
            _logged(found, keys.der(key), rule)
        return "the key given" if name.startswith("-----BEGIN") else name
    raise UntrustedError("was made with none of the rule's keys")


def _by_certificate(found: Signed, leaf: x509.Certificate, rule: Rule) -> str:
    subject = certificates.identified(leaf, rule.identities)
    if not keys.signed(leaf.public_key(), found.signature, found.message):
        raise UntrustedError("does not match its certificate")
    root = roots.load(rule.trusted_root)
    if found.entry is None:
        raise UntrustedError("has no transparency log entry")
    signer_der = leaf.public_bytes(Encoding.DER)
    certificates.check(leaf, log_entry.check(found.entry, found.content, found.signature, signer_der, root), root)
    return subject


def _logged(found: Signed, signer_der: bytes, rule: Rule) -> None:
    if found.entry is None:
        raise UntrustedError("has no transparency log entry")
    log_entry.check(found.entry, found.content, found.signature, signer_der, roots.load(rule.trusted_root))


def _simple(one: Signature) -> Signed:
    payload = _decode_simple(one.payload)
    if payload.critical.type != SIMPLE_TYPE:
        raise ValueError(f"its type is {payload.critical.type!r}")
    return Signed(
        digest=payload.critical.image.docker_manifest_digest,
        message=one.payload,
        content=one.payload,
        signature=base64.b64decode(one.signature, validate=True),
        certificate=x509.load_pem_x509_certificate(one.certificate.encode()) if one.certificate else None,
        entry=log_entry.of_annotation(one.log_entry) if one.log_entry else None,
    )


def _bundle(document: bytes) -> Signed:
    bundle = _decode_bundle(document)
    envelope, material = bundle.dsse_envelope, bundle.verification_material
    if envelope.payload_type != STATEMENT_TYPE:
        raise ValueError(f"its payload is of the type {envelope.payload_type!r}")
    statement = _decode_statement(envelope.payload)
    if statement.predicate_type != PREDICATE:
        raise ValueError(f"it is an attestation of {statement.predicate_type}, not a signature")
    if len(envelope.signatures) != 1 or len(statement.subject) != 1:
        raise ValueError("it must have one signature and one subject")
    chain = material.x509_certificate_chain.certificates if material.x509_certificate_chain else []
    leaf = material.certificate or (chain[0] if chain else None)
    name = envelope.payload_type.encode()
    return Signed(
        digest=f"sha256:{statement.subject[0].digest.sha256}",
        message=b"DSSEv1 %d %s %d %s" % (len(name), name, len(envelope.payload), envelope.payload),
        content=envelope.payload,
        signature=envelope.signatures[0].sig,
        certificate=x509.load_der_x509_certificate(leaf.raw_bytes) if leaf else None,
        entry=next((_entry(one) for one in material.tlog_entries if one.inclusion_promise), None),
    )


def _entry(one: _LogEntry) -> Entry:
    assert one.inclusion_promise
    return Entry(
        body=one.canonicalized_body,
        time=int(one.integrated_time),
        log=one.log_id.key_id.hex(),
        index=int(one.log_index),
        promise=one.inclusion_promise.signed_entry_timestamp,
    )
