"""What a project may be called (compose-spec, "name"). No imports: the guess about an `up` uses it before anything is parsed."""

from __future__ import annotations

ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def normalised(name: str) -> str:
    """The name reduced to the characters that a project name may have."""
    return "".join(character for character in name.lower() if character in ALLOWED).lstrip("_-")
