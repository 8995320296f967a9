"""Public keys, and whether a signature was made by one (cosign: ECDSA, RSA PKCS #1 v1.5 and Ed25519, over SHA-2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from engine.bounded_read import MIB, read_bytes
from engine.errors import InvalidSpec

_HASHES = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


def load(key: str) -> PublicKeyTypes:
    """The public key in a PEM text or file. Raises InvalidSpec."""
    try:
        text = key.encode() if key.startswith("-----BEGIN") else read_bytes(key, MIB, "a public key")
        return serialization.load_pem_public_key(text)
    except OSError as error:
        raise InvalidSpec(f"cannot read the key {key}: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSpec(f"{key.partition(chr(10))[0]} is not a public key in PEM form: {error}") from error


def der(key: PublicKeyTypes) -> bytes:
    """Its SubjectPublicKeyInfo."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(key: PublicKeyTypes) -> str:
    """The id of a transparency log's key: the SHA-256 of its SubjectPublicKeyInfo (RFC 6962, 3.2), in hex."""
    return hashlib.sha256(der(key)).hexdigest()


def signed(key: PublicKeyTypes, signature: bytes, data: bytes) -> bool:
    """Whether the key created the signature of `data`."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return any(_holds(lambda: key.verify(signature, data, ec.ECDSA(one))) for one in _HASHES)  # noqa: B023
    if isinstance(key, rsa.RSAPublicKey):
        return any(_holds(lambda: key.verify(signature, data, padding.PKCS1v15(), one)) for one in _HASHES)  # noqa: B023
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _holds(lambda: key.verify(signature, data))
    return False


def _holds(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True
