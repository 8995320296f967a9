"""A Dockerfile's text as logical lines: directives, comments, continuations, here-documents.

Source: the Dockerfile reference ("Format", "Parser directives", "Here-Documents"). Line numbers begin with 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from engine.errors import BuildFailed

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*\Z")
_COMMENT = re.compile(r"\s*#")
_HEREDOC = re.compile(r"""(?<!\S)(\d*)<<(-?)(?P<quote>['"]?)([A-Za-z_][A-Za-z0-9_.]*)(?P=quote)(?=[\s;|&>)]|\Z)""")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")
_KNOWN_DIRECTIVES = ("syntax", "escape", "check")


class Heredoc(Struct, frozen=True):
    """`<<NAME … NAME`. `expand` unless the name was quoted; `strip` leading tabs for `<<-`; `raw` is as written."""

    name: str
    content: str
    expand: bool
    strip: bool
    raw: str


class Line(Struct, frozen=True):
    """One instruction: keyword in upper case, the text after it with continuations joined, and where it stands."""

    keyword: str
    rest: str
    heredocs: tuple[Heredoc, ...]
    start: int
    end: int
    text: str


class Source(Struct, frozen=True):
    """A Dockerfile: its name for errors, its lines, and what its directives say."""

    name: str
    lines: tuple[Line, ...]
    escape: str
    directives: dict[str, str]
    text: str

    def error(self, start: int, message: str, *, hint: str = "", end: int = 0) -> BuildFailed:
        """The error with its place and the lines it is about."""
        shown = self.text.splitlines()[start - 1 : min(max(end, start), start + 5)]
        excerpt = "".join(f"\n  {number:>4} | {line}" for number, line in enumerate(shown, start))
        return BuildFailed(f"{self.name}:{start}: {message}{excerpt}", hint=hint)


def lex(text: str, name: str = "Dockerfile") -> Source:
    """Split `text` into logical lines. Raises BuildFailed for an unfinished here-document or a wrong directive."""
    text = text.removeprefix("\ufeff")
    physical = [line.removesuffix("\r") for line in text.split("\n")]
    source = Source(name, (), "\\", {}, text)
    directives, escape = _directives(physical, source)
    lines = tuple(_logical(physical, escape, source))
    return Source(name, lines, escape, directives, text)


def _directives(physical: list[str], source: Source) -> tuple[dict[str, str], str]:
    """The leading `# name=value` lines; the first other line ends them."""
    found: dict[str, str] = {}
    for number, line in enumerate(physical, 1):
        match = _DIRECTIVE.match(line.strip()) if line.lstrip().startswith("#") else None
        name = match[1].lower() if match else ""
        if not match or name not in _KNOWN_DIRECTIVES:
            break
        if name in found:
            raise source.error(number, f"only one {name} directive can be used")
        found[name] = match[2]
        if name == "escape" and match[2] not in ("\\", "`"):
            raise source.error(number, f"invalid escape character {match[2]!r}: it must be ` or \\")
    return found, found.get("escape", "\\")


def _logical(physical: list[str], escape: str, source: Source) -> Iterator[Line]:
    # A doubled escape character at the end is a literal one, not a continuation.
    continued = re.compile(rf"(?:\A|[^{re.escape(escape)}]){re.escape(escape)}[ \t]*\Z")
    number = 0
    while number < len(physical):
        first = physical[number]
        number += 1
        if not first.strip() or _COMMENT.match(first):
            continue
        start, joined, line = number, "", first.lstrip()
        while True:
            if not continued.search(line):
                joined += line
                break
            joined += line[: line.rstrip(" \t").rindex(escape)]
            # Comments and empty lines between continued lines are dropped.
            while number < len(physical) and (not physical[number].strip() or _COMMENT.match(physical[number])):
                number += 1
            if number >= len(physical):
                break
            line = physical[number]
            number += 1
        keyword, _, rest = joined.strip().replace("\t", " ", 1).partition(" ")
        heredocs: list[Heredoc] = []
        upper = keyword.upper()
        body = rest.lstrip()
        if upper in _WITH_HEREDOCS or (upper == "ONBUILD" and body.split(" ", 1)[0].upper() in _WITH_HEREDOCS):
            for match in _heredocs(body):
                heredoc, number = _heredoc(match, physical, number, start, source)
                heredocs.append(heredoc)
        yield Line(upper, body.rstrip(), tuple(heredocs), start, number, "\n".join(physical[start - 1 : number]))


def _heredocs(text: str) -> Iterator[re.Match[str]]:
    """The `<<NAME` words outside quotes."""
    quote = ""
    quoted_at: set[int] = set()
    escaped = False
    for at, char in enumerate(text):
        if quote:
            quoted_at.add(at)
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
    return (match for match in _HEREDOC.finditer(text) if match.start() not in quoted_at)


def _heredoc(match: re.Match[str], physical: list[str], number: int, start: int, source: Source) -> tuple[Heredoc, int]:
    name, strip = match[4], bool(match[2])
    taken: list[str] = []
    for at in range(number, len(physical)):
        line = physical[at]
        if (line.lstrip("\t") if strip else line) == name:
            lines = [kept.lstrip("\t") for kept in taken] if strip else taken
            content = "".join(f"{kept}\n" for kept in lines)
            raw = "".join(f"{kept}\n" for kept in [*taken, line])
            return Heredoc(name, content, not match["quote"], strip, raw), at + 1
        taken.append(line)
    raise source.error(start, f"unterminated here-document: the line {name!r} is missing")
