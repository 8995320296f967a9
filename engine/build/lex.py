"""A Dockerfile's text as logical lines: directives, comments, continuations, flags, here-documents.

Source: the Dockerfile reference ("Format", "Parser directives", "Here-Documents"). Line numbers begin with 1.
"""

from __future__ import annotations

import json
import re

from msgspec import Struct

from engine.build.words import WordError, heredoc_name, shell_words
from engine.errors import BuildFailed

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*\Z")
_COMMENT = re.compile(r"\s*#")
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)\Z")
BLANKS = re.compile(r"[ \t\v\f\r]+")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")
_KNOWN_DIRECTIVES = ("syntax", "escape", "check")


class Heredoc(Struct, frozen=True):
    """`<<NAME … NAME`. `expand` unless a part of the name was quoted; `raw` is as written, `content` without the
    leading tabs that `<<-` strips."""

    name: str
    content: str
    expand: bool
    strip: bool
    raw: str


class Line(Struct, frozen=True):
    """One instruction: keyword in upper case (`word` as written), its flags without quotes, the text after them, and
    where it stands.

    `text` is the whole line with continuations joined; `comments` are the comments directly before it; `gap` says
    that a continuation was followed by an empty line.
    """

    keyword: str
    word: str
    flags: tuple[str, ...]
    rest: str
    heredocs: tuple[Heredoc, ...]
    start: int
    end: int
    text: str
    comments: tuple[str, ...] = ()
    gap: bool = False


class Source(Struct, frozen=True):
    """A Dockerfile: its name for errors, its lines, and what its directives say."""

    name: str
    lines: tuple[Line, ...]
    escape: str
    directives: dict[str, str]
    text: str

    def error(self, start: int, message: str, *, hint: str = "", end: int = 0) -> BuildFailed:
        """The error with its place and the lines it is about."""
        shown = self.text.split("\n")[start - 1 : min(max(end, start), start + 5)]
        excerpt = "".join(f"\n  {number:>4} | {line}" for number, line in enumerate(shown, start))
        return BuildFailed(f"{self.name}:{start}: {message}{excerpt}", hint=hint)


def lex(text: str, name: str = "Dockerfile") -> Source:
    """Split `text` into logical lines. Raises BuildFailed for an unfinished here-document or a wrong directive."""
    text = text.removeprefix("\ufeff")
    physical = _lines(text)
    source = Source(name, (), "\\", {}, text)
    directives, escape = _directives(physical, source)
    lines = tuple(_Lexer(physical, escape, source).run())
    return Source(name, lines, escape, directives, text)


def parse_heredoc(word: str) -> Heredoc | None:
    """The here-document that a word such as `<<-"EOF"` announces, without its content; None if the word is not one."""
    match = _HEREDOC.match(word)
    if not match or not match[3]:
        return None
    try:
        name, quoted = heredoc_name(match[3])
    except WordError:  # quotes that do not end: an ordinary word, until it is expanded
        return None
    return Heredoc(name, "", not quoted, match[2] == "-", "") if name else None


def without_tabs(text: str) -> str:
    """Every line without its leading tabs, as `<<-` has it."""
    return re.sub(r"^\t+", "", text, flags=re.MULTILINE)


def split_blanks(text: str) -> list[str]:
    """Split at blanks, with no regard to quotes."""
    return BLANKS.split(text) if text else []


def _lines(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+\Z", text)


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


class _Lexer:
    def __init__(self, physical: list[str], escape: str, source: Source) -> None:
        self.physical, self.escape, self.source = physical, escape, source
        # A doubled escape character at the end is a literal one, not a continuation.
        escaped = re.escape(escape)
        self.continued = re.compile(rf"(?:(?<=[^{escaped}])|\A){escaped}[ \t]*\Z")
        self.at = 0

    def run(self) -> list[Line]:
        lines: list[Line] = []
        comments: list[str] = []
        while self.at < len(self.physical):
            first = self.physical[self.at].rstrip("\r\n").lstrip()
            self.at += 1
            if first.startswith("#"):
                comment = first[1:].strip()
                comments = [*comments, comment] if comment else []
            elif first:
                lines.append(self.line(first, tuple(comments)))
                comments = []
        return lines

    def line(self, first: str, comments: tuple[str, ...]) -> Line:
        """The instruction that begins with the physical line `first`, which is already taken."""
        start, gap = self.at, False
        text, more = self.trimmed(first)
        while more and self.at < len(self.physical):
            line = self.physical[self.at].rstrip("\r\n")
            self.at += 1
            if _COMMENT.match(line):
                continue
            if not line.strip():
                gap = True
                continue
            part, more = self.trimmed(line)
            text += part
        keyword, flags, rest = self.command(text.strip())
        heredocs = self.heredocs(text, keyword, rest, start)
        return Line(keyword.upper(), keyword, flags, rest, heredocs, start, self.at, text.strip(), comments, gap)

    def trimmed(self, line: str) -> tuple[str, bool]:
        """The line without the escape character that continues it, and whether there was one."""
        match = self.continued.search(line)
        return (line[: match.start()], True) if match else (line, False)

    def command(self, text: str) -> tuple[str, tuple[str, ...], str]:
        word, *rest = BLANKS.split(text, maxsplit=1)
        flags, after = take_flags(rest[0], self.escape) if rest else ((), "")
        return word, flags, after.strip()

    def heredocs(self, text: str, keyword: str, rest: str, start: int) -> tuple[Heredoc, ...]:
        if "<<" not in text:
            return ()
        if keyword.upper() == "ONBUILD" and rest:
            keyword, _, rest = self.command(rest)
        if keyword.upper() not in _WITH_HEREDOCS or (rest.startswith("[") and _is_json_array(rest)):
            return ()
        try:
            announced = [heredoc for word in shell_words(text, raw=True) if (heredoc := parse_heredoc(word))]
        except WordError:  # quotes that do not end: the shell, or the instruction, says so
            return ()
        return tuple(self.heredoc(one, start) for one in announced)

    def heredoc(self, announced: Heredoc, start: int) -> Heredoc:
        """Take the lines up to the name."""
        taken: list[str] = []
        while self.at < len(self.physical):
            line = self.physical[self.at]
            self.at += 1
            end = line.rstrip("\r\n")
            if (end.lstrip("\t") if announced.strip else end) == announced.name:
                raw = "".join(taken)
                content = without_tabs(raw) if announced.strip else raw
                return Heredoc(announced.name, content, announced.expand, announced.strip, raw)
            taken.append(line)
        message = f"unterminated here-document: the line {announced.name!r} is missing"
        raise self.source.error(start, message)


def _is_json_array(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False


def take_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The words at the beginning that start with `--`, quotes and escapes resolved, and the text after them. The word
    `--` ends them."""
    flags: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith("--", at):
            return tuple(flags), text[at:]
        word, at = _flag(text, at, escape)
        if word == "--":
            return tuple(flags), text[at:]
        flags.append(word)


def _flag(text: str, at: int, escape: str) -> tuple[str, int]:
    word, quote = "", ""
    while at < len(text) and (quote or not text[at].isspace()):
        char = text[at]
        at += 1
        if char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        elif char == escape:
            word += text[at : at + 1]
            at += 1
        else:
            word += char
    return word, at
