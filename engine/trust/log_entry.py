"""Entries of sigstore's transparency log Rekor, trusted because of the log's signature on them (its promise to include
them), without network requests (sigstore/rekor, types; sigstore/cosign, specs/SIGNATURE_SPEC.md)."""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from engine.trust import keys
from engine.trust.certificates import UntrustedError
from engine.trust.roots import TrustedRoot


class Entry(Struct, frozen=True, kw_only=True):
    """`body` is the record, base64; `log` the id of the log's key in hex; `time` seconds since the epoch; `promise` the
    log's signature."""

    body: str
    time: int
    log: str
    index: int
    promise: bytes


class _Payload(Struct, rename={"log": "logID", "index": "logIndex", "time": "integratedTime"}):
    body: str
    time: int
    index: int
    log: str


class _Bundle(Struct, rename={"promise": "SignedEntryTimestamp", "payload": "Payload"}):
    promise: bytes
    payload: _Payload


class _Hash(Struct):
    value: str
    algorithm: str = "sha256"


class _Data(Struct):
    hash: _Hash


class _PublicKey(Struct):
    content: bytes


class _Signature(Struct, rename="camel"):
    content: str = ""
    public_key: _PublicKey | None = None
    signature: str = ""
    verifier: bytes = b""


class _Specification(Struct, rename="camel"):
    data: _Data | None = None
    signature: _Signature | None = None
    payload_hash: _Hash | None = None
    signatures: list[_Signature] = []


class _Body(Struct):
    kind: str
    spec: _Specification


_decode_bundle = msgspec.json.Decoder(_Bundle).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def of_annotation(text: str) -> Entry:
    """cosign's annotation of a signature. Raises UntrustedError."""
    try:
        found = _decode_bundle(text)
    except msgspec.MsgspecError as error:
        raise UntrustedError(f"has a malformed log entry: {error}") from error
    one = found.payload
    return Entry(body=one.body, time=one.time, log=one.log, index=one.index, promise=found.promise)


def check(entry: Entry, payload: bytes, signature: bytes, signer: bytes, root: TrustedRoot) -> datetime.datetime:
    """When the log accepted the entry, which must be for this signature of `payload` by `signer` (a certificate or a
    key, DER). Raises UntrustedError."""
    signed_at = datetime.datetime.fromtimestamp(entry.time, datetime.UTC)
    log = root.transparency_logs.get(entry.log)
    if log is None or not log.period.holds(signed_at):
        raise UntrustedError("is in no transparency log of the trusted root")
    document = {"body": entry.body, "integratedTime": entry.time, "logID": entry.log, "logIndex": entry.index}
    if not keys.signed(log.key, entry.promise, msgspec.json.encode(document, order="sorted")):
        raise UntrustedError("has a log entry that its log did not sign")
    try:
        body = _decode_body(base64.b64decode(entry.body, validate=True))
        entries = list(_entries(body))
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise UntrustedError(f"has a malformed log entry: {error}") from error
    digest = hashlib.sha256(payload).hexdigest()
    if (digest, signature, signer) not in entries:
        raise UntrustedError("has a log entry for another signature")
    return signed_at


def _entries(body: _Body) -> list[tuple[str, bytes, bytes]]:
    """(signed digest, signature, signer), from entries of the kinds hashedrekord and dsse. Raises ValueError."""
    spec = body.spec
    if body.kind == "hashedrekord" and spec.data and spec.signature and spec.signature.public_key:
        one = spec.signature
        return [(_sha256(spec.data.hash), base64.b64decode(one.content), _signer(spec.signature.public_key.content))]
    if body.kind == "dsse" and spec.payload_hash:
        return [
            (_sha256(spec.payload_hash), base64.b64decode(one.signature), _signer(one.verifier))
            for one in spec.signatures
        ]
    raise ValueError(f"its kind is {body.kind}")


def _sha256(found: _Hash) -> str:
    if found.algorithm != "sha256":
        raise ValueError(f"its digest algorithm is {found.algorithm}")
    return found.value


def _signer(pem: bytes) -> bytes:
    if b"CERTIFICATE" in pem:
        from cryptography.hazmat.primitives.serialization import Encoding

        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    return keys.der(load_pem_public_key(pem))
