"""What is kept of a build after its end."""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct

REF = r"[a-z0-9]{25}"
"""The form of a build's reference (a regular expression)."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_ref() -> str:
    """A new reference."""
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in os.urandom(25))


class BuildRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One build that has ended. Times are in seconds since the epoch; `error` is "" for success."""

    ref: str
    context: str = ""
    dockerfile: str = "Dockerfile"
    target: str = ""
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    args: dict[str, str | None] = {}
    labels: dict[str, str] = {}
    no_cache: bool = False
    pull: bool = False
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    steps: int = 0
    cached: int = 0
    completed: int = 0
    warnings: int = 0
    image: str = ""
    """The id of the image."""
    provenance: dict[str, msgspec.Raw] = {}
    """Platform → SLSA's predicate (slsa.dev/provenance/v0.2), complete."""


decode_build_record = msgspec.json.Decoder(BuildRecord).decode
