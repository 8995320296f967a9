"""SHA-256 of small data. hashlib would load OpenSSL, which costs a command and a supervisor 2 ms each; large data
(layers, archives) benefits from OpenSSL's speed and uses hashlib."""

from __future__ import annotations

try:
    from _sha256 import sha256  # type: ignore[import-not-found]  # as the standard library's random module does it
except ImportError:
    from importlib import import_module

    try:
        sha256 = import_module("_sha2").sha256  # its name from Python 3.12 on
    except ImportError:
        from hashlib import sha256


def hexadecimal(data: bytes) -> str:
    """The digest in 64 hex digits."""
    return str(sha256(data).hexdigest())


def tag(text: str) -> str:
    """Eight hex digits that identify a text, for names with limited length in the kernel."""
    return hexadecimal(text.encode())[:8]
