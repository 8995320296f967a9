"""Path patterns as .dockerignore has them: `*`, `?`, `[…]`, `**`, and `!` for exceptions; the last match decides."""

from __future__ import annotations

import re
from collections.abc import Iterable


class Patterns:
    """A list of patterns; a path matches when it, or a folder above it, does."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for text in patterns:
            pattern = text.strip()
            negated = pattern.startswith("!")
            pattern = pattern.removeprefix("!").removeprefix("./").strip("/")
            if pattern:
                self._rules.append((re.compile(translate(pattern) + r"(?:/.*)?", re.DOTALL), not negated))

    @property
    def excepts(self) -> bool:
        """Whether something below a folder that is meant may not be."""
        return any(not positive for _, positive in self._rules)

    def match(self, path: str) -> bool:
        """Whether the relative `path` is meant."""
        meant = False
        for rule, positive in self._rules:
            if rule.fullmatch(path):
                meant = positive
        return meant


def translate(pattern: str) -> str:
    """The regular expression of one pattern (Go's filepath.Match, and `**` for any number of folders)."""
    result, place = "", 0
    while place < len(pattern):
        character = pattern[place]
        if pattern.startswith("**/", place):
            result, place = result + r"(?:.*/)?", place + 3
        elif pattern.startswith("**", place):
            result, place = result + ".*", place + 2
        elif character in "*?":
            result, place = result + ("[^/]*" if character == "*" else "[^/]"), place + 1
        elif character == "[" and (end := pattern.find("]", place + 2)) > 0:
            result, place = result + _class(pattern[place + 1 : end]), end + 1
        elif character == "\\" and place + 1 < len(pattern):
            result, place = result + re.escape(pattern[place + 1]), place + 2
        else:
            result, place = result + re.escape(character), place + 1
    return result


def _class(inside: str) -> str:
    """A bracket expression; what is none (empty, a range backwards) matches nothing."""
    negated, inside = inside[0] in "^!", inside.lstrip("^!") if inside[0] in "^!" else inside
    body = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)
    try:
        re.compile(f"[{body}]")
    except re.error:
        return "(?!)"
    return f"(?!/)[^{body}]" if negated else f"[{body}]"
