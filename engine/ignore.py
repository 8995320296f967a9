"""Patterns of .dockerignore, of COPY --exclude and of what develop.watch ignores and includes.

They are those of the Dockerfile reference (".dockerignore files"), with Go's filepath.Match:

    *  ?  [a-z]    within one path component          **   any number of components
    !pattern       takes out again; the last pattern that matches decides
A pattern also matches all that is below what it matches.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from engine.errors import BuildFailed


class Ignore:
    """Whether paths (relative, with /) are ignored."""

    def __init__(self, patterns: Sequence[str], subject: str = ".dockerignore") -> None:
        self._rules: list[tuple[bool, re.Pattern[str], str]] = []
        for number, line in enumerate(patterns, 1):
            text = line.strip()
            if not text or line.startswith("#"):
                continue
            negated = text.startswith("!")
            text = text[1:].strip() if negated else text
            text = normalised(text)
            if not text:
                if negated:
                    raise BuildFailed(f'{subject}:{number}: illegal exclusion pattern: "!"')
                continue
            try:
                self._rules.append((negated, translate(text), text))
            except re.error as error:
                raise BuildFailed(f"{subject}:{number}: invalid pattern {line!r}: {error}") from error
        self._negations = any(negated for negated, _, _ in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def matches(self, path: str) -> bool:
        """Whether `path` itself, or a directory above it, is ignored by the last rule that speaks of it."""
        ignored = False
        for negated, pattern, _ in self._rules:
            if negated == ignored and _at_or_below(pattern, path):
                ignored = not negated
        return ignored

    def prunes(self, directory: str) -> bool:
        """Whether nothing below an ignored directory can be taken out again, so that it need not be walked."""
        if not self.matches(directory):
            return False
        prefix = directory + "/"
        return not any(negated and _may_be_below(text, prefix) for negated, _, text in self._rules)


def _at_or_below(pattern: re.Pattern[str], path: str) -> bool:
    while path:
        if pattern.fullmatch(path):
            return True
        path = path.rpartition("/")[0]
    return False


def _may_be_below(text: str, prefix: str) -> bool:
    """Whether something below the directory `prefix` could match the negated pattern."""
    literal = re.split(r"[*?\[\\]", text, maxsplit=1)[0]
    return literal.startswith(prefix) or (prefix.startswith(literal) and (literal != text or f"{text}/" == prefix))


def normalised(pattern: str) -> str:
    """Without empty, "." and ".." components; what would lead out of the root stays at it."""
    parts: list[str] = []
    for part in pattern.strip("/").split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


@functools.lru_cache(maxsize=512)
def translate(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression for a whole path. Raises re.error for a malformed class."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern[at : at + 1] == "/":
                at += 1
                out.append("(?:.*/)?")
            else:
                out.append(".*")
            continue
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise re.error("missing ]")
            inner = pattern[at + 1 : end]
            negated = inner[:1] in "^!"
            inner = inner[1:] if negated else inner
            out.append("[" + ("^" if negated else "") + re.sub(r"([\[\]\\^&~|])", r"\\\1", inner) + "]")
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at]))
        else:
            out.append(re.escape(char))
        at += 1
    return re.compile("".join(out), re.DOTALL)


def has_wildcards(text: str) -> bool:
    return any(char in text for char in "*?[\\")
