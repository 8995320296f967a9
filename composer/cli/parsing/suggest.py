"""Suggests the command or flag that an unknown word probably means; destructive ones only for a close match."""

from __future__ import annotations

from collections.abc import Iterable

NEVER = frozenset(("rm", "run"))
"""Commands with names so short that nearly every typing error is near them."""
DESTRUCTIVE = frozenset(
    (
        "down",
        "kill",
        "prune",
        "all",
        "force",
        "force-recreate",
        "remove-orphans",
        "renew-anon-volumes",
        "rmi",
        "volumes",
    )
)
"""Destructive commands and flags, which are only suggested for very similar words."""
NEAR, VERY_NEAR = 0.6, 0.75
"""Similarity of two words, 1 for the same (difflib.SequenceMatcher.ratio)."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; "" if none is similar."""
    from difflib import get_close_matches

    names = [name for name in known if name not in NEVER]
    safe = [name for name in names if name not in DESTRUCTIVE]
    near = get_close_matches(word, names, 1, VERY_NEAR) or get_close_matches(word, safe, 1, NEAR)
    return near[0] if near else ""
