"""Sigstore's offline trust root: certificate authorities and logs, as `cosign trusted-root create` writes them
(sigstore/protobuf-specs, sigstore_trustroot.proto, in JSON)."""

from __future__ import annotations

import base64
import binascii
import datetime
import itertools

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec import Struct

from engine.bounded_read import MIB, read_bytes
from engine.errors import InvalidSpec
from engine.trust import keys


class _Range(Struct, rename="camel", frozen=True):
    start: datetime.datetime | None = None
    end: datetime.datetime | None = None


class _PublicKey(Struct, rename="camel"):
    raw_bytes: str
    valid_for: _Range = _Range()


class _Log(Struct, rename="camel"):
    public_key: _PublicKey


class _Certificate(Struct, rename="camel"):
    raw_bytes: str


class _Chain(Struct, rename="camel"):
    certificates: list[_Certificate]


class _Authority(Struct, rename="camel"):
    cert_chain: _Chain
    valid_for: _Range = _Range()


class _File(Struct, rename="camel"):
    tlogs: list[_Log] = []
    certificate_authorities: list[_Authority] = []
    ctlogs: list[_Log] = []


class Period(Struct, frozen=True):
    """The period of validity; None is unlimited."""

    start: datetime.datetime | None
    end: datetime.datetime | None

    def holds(self, time: datetime.datetime) -> bool:
        return (self.start is None or self.start <= time) and (self.end is None or time <= self.end)


class Log(Struct, frozen=True):
    """A log's key."""

    key: PublicKeyTypes
    period: Period


class Authority(Struct, frozen=True):
    """`chain` begins with the certificate that issues, and ends with the root."""

    chain: tuple[x509.Certificate, ...]
    period: Period


class TrustedRoot(Struct, frozen=True):
    """Logs by the id of their key."""

    authorities: tuple[Authority, ...]
    transparency_logs: dict[str, Log]
    certificate_logs: dict[str, Log]


_decode = msgspec.json.Decoder(_File).decode


def load(path: str) -> TrustedRoot:
    """Raises InvalidSpec."""
    try:
        file = _decode(read_bytes(path, 8 * MIB, "a trusted root"))
        return TrustedRoot(
            authorities=tuple(_authority(one) for one in file.certificate_authorities),
            transparency_logs=dict(map(_log, file.tlogs)),
            certificate_logs=dict(map(_log, file.ctlogs)),
        )
    except OSError as error:
        raise InvalidSpec(f"cannot read the trusted root {path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise InvalidSpec(f"{path} is not a trusted root of sigstore: {error}") from error


def _authority(one: _Authority) -> Authority:
    chain = [x509.load_der_x509_certificate(base64.b64decode(c.raw_bytes)) for c in one.cert_chain.certificates]
    if not chain:
        raise ValueError("a certificate authority has no certificate")
    for lower, upper in itertools.pairwise(chain):
        try:
            lower.verify_directly_issued_by(upper)
        except Exception as error:
            raise ValueError(f"the chain of {lower.subject.rfc4514_string()} is broken") from error
    return Authority(tuple(chain), Period(one.valid_for.start, one.valid_for.end))


def _log(one: _Log) -> tuple[str, Log]:
    key = load_der_public_key(base64.b64decode(one.public_key.raw_bytes))
    return keys.key_id(key), Log(key, Period(one.public_key.valid_for.start, one.public_key.valid_for.end))
