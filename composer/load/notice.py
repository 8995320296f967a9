"""Warnings, their kinds, and how a project silences a kind:

    x-composer:
      silence: [latest-tag, published-everywhere]

or, for one run, by the environment variable COMPOSER_SILENCE=latest-tag,published-everywhere. `all` silences every kind.
"""

from __future__ import annotations

from composer.load.printable import printable

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

UNSET, OBSOLETE, NO_EFFECT = "unset-variable", "obsolete-version", "no-effect"
PUBLISHED, SECRET, LATEST = "published-everywhere", "secret-in-environment", "latest-tag"
DAEMON = "docker-host"

KINDS = frozenset((UNSET, OBSOLETE, NO_EFFECT, PUBLISHED, SECRET, LATEST, DAEMON))
"""Every command prints the first two kinds, commands that use the engine docker-host (composer/cli/project/settings.py), and
commands that create containers no-effect (composer/plan/translate/keys.py). The others are advice (advice.py)."""


class Notice(str):
    """A line for standard error. `kind` is the word that silences it, "" if nothing does; `service` the service that it
    concerns, "" for the whole project."""

    __slots__ = ("kind", "service")

    kind: str
    service: str

    def __new__(cls, text: str, kind: str = "", service: str = "") -> Notice:
        notice = super().__new__(cls, printable(text))
        notice.kind, notice.service = kind, service
        return notice


def not_silenced(warnings: Iterable[str], tree: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """The warnings without duplicates, and without those that the project or the environment silences."""
    silent = silenced(tree, environ)
    return [one for one in dict.fromkeys(warnings) if getattr(one, "kind", "") not in silent]


def silenced(tree: Mapping[str, Any], environ: Mapping[str, str]) -> frozenset[str]:
    """The kinds that the project or the environment silences, including unknown ones."""
    ours = tree.get("x-composer")
    requested = ours.get("silence") if isinstance(ours, dict) else None
    kinds = [requested] if isinstance(requested, str) else requested if isinstance(requested, list) else []
    named = {str(kind) for kind in kinds} | set((environ.get("COMPOSER_SILENCE") or "").replace(",", " ").split())
    return KINDS if "all" in named else frozenset(named)
