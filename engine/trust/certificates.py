"""Certificates of Fulcio: the signer, its issuer, and whether an authority of the trusted root issued them
(sigstore/fulcio, docs/certificate-specification.md and docs/oid-info.md)."""

from __future__ import annotations

import datetime
import hashlib
import struct

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from engine.trust import keys
from engine.trust.policy import Identity
from engine.trust.roots import Authority, TrustedRoot

_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OLD_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_OTHER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")


class UntrustedError(Exception):
    """Why a signature is not accepted; the text completes `the signature …`."""


def check(leaf: x509.Certificate, time: datetime.datetime, root: TrustedRoot) -> None:
    """Check that the certificate was valid for signing at `time`. Raises UntrustedError."""
    if not leaf.not_valid_before_utc <= time <= leaf.not_valid_after_utc:
        raise UntrustedError("was made outside the validity of its certificate")
    authority = next((one for one in root.authorities if _issued(leaf, one)), None)
    if authority is None:
        raise UntrustedError("has a certificate that no authority of the trusted root issued")
    inside = all(one.not_valid_before_utc <= time <= one.not_valid_after_utc for one in authority.chain)
    if not inside or not authority.period.holds(time):
        raise UntrustedError("was made outside the validity of its certificate authority")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    if ExtendedKeyUsageOID.CODE_SIGNING not in usage:
        raise UntrustedError("has a certificate that is not for signing code")
    if root.certificate_logs and not _logged(leaf, authority.chain[0], root):
        raise UntrustedError("has a certificate that is in no log of the trusted root")


def _issued(leaf: x509.Certificate, authority: Authority) -> bool:
    try:
        leaf.verify_directly_issued_by(authority.chain[0])
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _logged(leaf: x509.Certificate, issuer: x509.Certificate, root: TrustedRoot) -> bool:
    """Whether a timestamp in the certificate was signed by a log (RFC 6962, 3.2)."""
    try:
        stamps = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    except x509.ExtensionNotFound:
        return False
    body = leaf.tbs_precertificate_bytes
    entry = hashlib.sha256(keys.der(issuer.public_key())).digest() + len(body).to_bytes(3, "big") + body
    for stamp in stamps:
        log = root.certificate_logs.get(stamp.log_id.hex())
        when = stamp.timestamp.replace(tzinfo=datetime.UTC)
        if log is None or not log.period.holds(when):
            continue
        milliseconds = round(when.timestamp() * 1000)
        extensions = stamp.extension_bytes
        data = struct.pack(">BBQH", 0, 0, milliseconds, 1) + entry + len(extensions).to_bytes(2, "big") + extensions
        if keys.signed(log.key, stamp.signature, data):
            return True
    return False


def identified(leaf: x509.Certificate, wanted: tuple[Identity, ...]) -> str:
    """The subject, if the certificate belongs to one of these identities. Raises UntrustedError."""
    issuer, subjects = _issuer(leaf), _subjects(leaf)
    for subject in subjects:
        if any(one.issuer == issuer and one.admits(subject) for one in wanted):
            return subject
    signers = ", ".join(subjects) or "nobody"
    raise UntrustedError(f"is by {signers} (issuer {issuer or 'unknown'}), which the rule does not list")


def _subjects(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found = [*names.get_values_for_type(x509.RFC822Name), *names.get_values_for_type(x509.UniformResourceIdentifier)]
    others = names.get_values_for_type(x509.OtherName)
    return found + [_text(one.value) for one in others if one.type_id == _OTHER_NAME]


def _issuer(leaf: x509.Certificate) -> str:
    for oid, encoded in ((_ISSUER, True), (_OLD_ISSUER, False)):
        try:
            value = leaf.extensions.get_extension_for_oid(oid).value
        except x509.ExtensionNotFound:
            continue
        if isinstance(value, x509.UnrecognizedExtension):
            return _text(value.value) if encoded else value.value.decode("utf-8", "replace")
    return ""


def _text(der: bytes) -> str:
    """A UTF8String of DER (X.690, 8.1.3) with a length of at most 65535."""
    if len(der) < 2 or der[0] != 0x0C:
        return ""
    header = {0x81: 3, 0x82: 4}.get(der[1], 2)
    length = int.from_bytes(der[2:header], "big") if header > 2 else der[1]
    return der[header:].decode("utf-8", "replace") if len(der) == header + length else ""
