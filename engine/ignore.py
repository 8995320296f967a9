"""Patterns of .dockerignore, of COPY --exclude and --parents, and of develop.watch.

They are those of the Dockerfile reference (".dockerignore files"), with Go's filepath.Match:

    *  ?  [a-z]    within one path component          **   any number of components
    !pattern       takes out again; the last pattern that matches decides
A pattern also matches all that is below what it matches.
"""

from __future__ import annotations

import functools
import itertools
import posixpath
import re
from collections.abc import Sequence
from typing import Protocol

from engine.errors import BuildFailed


class Matcher(Protocol):
    """A compiled pattern."""

    @property
    def pattern(self) -> str: ...

    def fullmatch(self, path: str, /) -> object: ...


class Ignore:
    """Whether paths (relative, with /) are ignored."""

    def __init__(self, patterns: Sequence[str], subject: str = ".dockerignore", *, file: bool = True) -> None:
        """`file`: the patterns are an ignore file's lines, with comments and with paths from the context's root.

        Raises BuildFailed for a malformed pattern."""
        self._rules: list[tuple[bool, Matcher, str]] = []
        for number, line in enumerate(patterns, 1):
            text = line.strip()
            if not text or (file and line.startswith("#")):
                continue
            negated = text.startswith("!")
            text = text[1:].strip() if negated else text
            if not text:
                raise BuildFailed(f'{subject}:{number}: illegal exclusion pattern: "!"')
            text = posixpath.normpath(text).replace("//", "/", 1)
            if file and len(text) > 1:
                text = text.removeprefix("/")
            try:
                self._rules.append((negated, translate(text), text))
            except re.error as error:
                raise BuildFailed(f"{subject}:{number}: invalid pattern {line!r}: {error}") from error
        self._negations = any(negated for negated, _, _ in self._rules)

    @property
    def has_exceptions(self) -> bool:
        """Whether a `!pattern` re-includes something."""
        return self._negations

    def __bool__(self) -> bool:
        return bool(self._rules)

    def matches(self, path: str) -> bool:
        """Whether the last matching rule for `path`, or for a directory above it, ignores it."""
        ignored = False
        for negated, pattern, _ in self._rules:
            if negated == ignored and _at_or_below(pattern, path):
                ignored = not negated
        return ignored

    def avoids(self, directory: str) -> bool:
        """Whether neither `directory` nor anything below it matches; for one pattern without `!`."""
        parts = directory.split("/")
        for _, _, text in self._rules:
            for pattern, part in zip(text.split("/"), parts, strict=False):
                if "**" in pattern:
                    return False
                if not translate(pattern).fullmatch(part):
                    break
            else:
                return False
        return True

    def prunes(self, directory: str) -> bool:
        """Whether no rule can re-include anything below an ignored directory, so that it need not be walked."""
        if not self.matches(directory):
            return False
        prefix = directory + "/"
        return not any(negated and _may_be_below(text, prefix) for negated, _, text in self._rules)


def _at_or_below(pattern: Matcher, path: str) -> bool:
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
    """The path without empty, "." and ".." components; ".." stops at the root."""
    parts: list[str] = []
    for part in pattern.strip("/").split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


@functools.lru_cache(maxsize=512)
def translate(pattern: str) -> Matcher:
    """The pattern as a regular expression for a whole path. Raises re.error for a malformed one."""
    if pattern.startswith("**") and not re.search(r"[*?\[\]\\]", pattern[2:]):
        # Unlike elsewhere, `**` before a plain name also matches a part of a component.
        tail = pattern[2:]
        start = "(?:.*/)?" if tail.startswith("/") else ".*"
        return re.compile(start + re.escape(tail.removeprefix("/")), re.DOTALL)
    return compiled(split(pattern))


def split(pattern: str) -> list[str]:
    """The pattern's wildcards and what each of its other characters matches. Raises re.error for a malformed one."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        if not pattern.startswith("**", at):
            part, at = _component(pattern, at)
            parts.append(part)
            continue
        at += 2
        at += pattern.startswith("/", at)
        parts.append(_DEEP if at < len(pattern) else _ALL)
    return parts


@functools.lru_cache(maxsize=512)
def translate_glob(pattern: str) -> Matcher:
    """As in filepath.Match, for COPY's sources: `**` is the same as `*`. Raises re.error."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        part, at = _component(pattern, at)
        out.append(part)
    return compiled(out)


_FLAT, _DEEP, _ALL = "[^/]*", "(?:.*/)?", ".*"
"""Wildcards: within one component; any number of components, at the start of one; any text."""


def compiled(parts: list[str]) -> Matcher:
    """What matches in time proportional to the path's length, as Go's do: a context may have any patterns and paths.

    Wherever what follows a wildcard is found first, no later place is any better; so none is tried (atomic groups). That does
    not hold where `**` is only a part of a name.
    """
    segments: list[list[str]] = [[]]
    for part in parts:
        if part != _DEEP:
            segments[-1].append(part)
        elif not segments[-1] or segments[-1][-1] == "/":
            segments.append([])
        else:
            return Stepwise(parts)
    *inner, last = segments
    out = [f"(?>{'(?:.*?/)??' if number else ''}{_segment(one, last=False)})" for number, one in enumerate(inner)]
    return re.compile("".join([*out, _DEEP if inner else "", _segment(last, last=True)]), re.DOTALL)


def _segment(parts: list[str], *, last: bool) -> str:
    """`last`: the path ends after it, so that its last wildcard needs no alternatives."""
    wild = [number for number, part in enumerate(parts) if part == _FLAT]
    out = parts[: wild[0]] if wild else parts
    for begin, end in itertools.pairwise([*wild, len(parts)]):
        fixed = "".join(parts[begin + 1 : end])
        out = [*out, f"{_FLAT}{fixed}" if last and end == len(parts) else f"(?>{_FLAT}?{fixed})"]
    return "".join(out)


class Stepwise:
    """Matches a pattern for which a regular expression would backtrack: tracks all reachable positions, part by
    part."""

    def __init__(self, parts: list[str]) -> None:
        self.pattern = "".join(parts)
        self._parts = [part if part in (_FLAT, _DEEP, _ALL) else re.compile(part, re.DOTALL) for part in parts]

    def fullmatch(self, path: str) -> bool:
        places = {0}
        for part in self._parts:
            if isinstance(part, re.Pattern):
                places = {place + 1 for place in places if part.match(path, place)}
            elif places:
                places = self._after(part, path, places)
        return len(path) in places

    @staticmethod
    def _after(wildcard: str, path: str, places: set[int]) -> set[int]:
        first = min(places)
        if wildcard != _FLAT:
            beyond = range(first, len(path) + 1)
            return places | {
                place for place in beyond if wildcard == _ALL or (place > first and path[place - 1] == "/")
            }
        found: set[int] = set()
        for place in sorted(places):
            while place not in found:
                found.add(place)
                if place == len(path) or path[place] == "/":
                    break
                place += 1
        return found


def _component(pattern: str, at: int) -> tuple[str, int]:
    """The element at `at` as a regular expression, and the start of the next one."""
    char = pattern[at]
    if char == "*":
        return "[^/]*", at + 1
    if char == "?":
        return "[^/]", at + 1
    if char == "[":
        return _class(pattern, at + 1)
    if char == "\\":
        if at + 1 == len(pattern):
            raise re.error("trailing backslash")
        return re.escape(pattern[at + 1]), at + 2
    return re.escape(char), at + 1


def _class(pattern: str, at: int) -> tuple[str, int]:
    """A character class: single characters and ranges, negated by a leading `^`; never empty."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (ranges and pattern.startswith("]", at)):
        low, at = _class_character(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_character(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")
    body = "".join(ranges)
    if not body:
        return "[^/]" if negated else r"(?!)", at + 1
    return (f"(?!/)[^{body}]" if negated else f"[{body}]"), at + 1


def _class_character(pattern: str, at: int) -> tuple[str, int]:
    if pattern.startswith("\\", at):
        at += 1
    elif pattern[at : at + 1] in ("-", "]"):
        raise re.error(f"{pattern[at]!r} is misplaced in a character class")
    if at >= len(pattern):
        raise re.error("missing ]")
    return pattern[at], at + 1


def is_pattern(text: str) -> bool:
    """Whether the text has an unescaped wildcard, so that it can match several files."""
    return bool(re.search(r"[*?\[]", re.sub(r"\\.", "", text, flags=re.DOTALL)))
