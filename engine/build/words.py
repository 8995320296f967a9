"""Words and variables in Dockerfile instructions (Dockerfile reference, "Environment replacement").

    $name ${name}            the value, "" when unset
    ${name:-word} ${name-word}   word when unset or empty / when unset        :+ + the opposite      :? ? an error
    ${name#pat} ## % %%      without the shortest / longest matching prefix / suffix
    ${name/pat/text} //      the first / every match replaced
Quotes and the escape character work as in a shell; patterns know * and ?.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_SPECIAL = "@*#?-$!"
_NAME = re.compile(r"\d+|\w+")
_WORD_END = re.compile(r"\s")


class WordError(ValueError):
    """The word cannot be expanded; the message says why."""


class Lookups(Struct):
    """The names that expansions looked up, with and without a value."""

    found: set[str] = set()
    missing: set[str] = set()


def split(text: str, escape: str = "\\") -> list[str]:
    """Split at blanks outside quotes; quotes and escapes stay in the words, an escape at the very end goes."""
    words: list[str] = []
    word, quote, at, begun = "", "", 0, False
    while at < len(text):
        char = text[at]
        at += 1
        if char == escape and quote != "'":
            word += text[at - 1 : at + 1] if at < len(text) else ""
            at += 1
            begun = True
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            if begun:
                words.append(word)
            word, begun = "", False
            continue
        word += char
        begun = True
    return [*words, word] if begun and word else words


def expand(
    text: str,
    values: Mapping[str, str],
    escape: str = "\\",
    *,
    lookups: Lookups | None = None,
    keep_quotes: bool = False,
    keep_unset: bool = False,
) -> str:
    """`text` as one word, with variables replaced and quotes removed. `keep_unset` keeps the text of variables without
    a value.

    Raises WordError for malformed substitutions and for `:?`.
    """
    return _Expander(text, values, escape, lookups, keep_quotes=keep_quotes, keep_unset=keep_unset).all()[0]


def expand_words(
    text: str, values: Mapping[str, str], escape: str = "\\", *, lookups: Lookups | None = None
) -> list[str]:
    """`text` with variables replaced, then split at blanks that are not quoted, those of the values included."""
    return _Expander(text, values, escape, lookups).all()[1]


def expand_heredoc(text: str, values: Mapping[str, str], *, lookups: Lookups | None = None) -> str:
    """A here-document's content: quotes are ordinary characters. The escape character is always the backslash."""
    return _Expander(text, values, "\\", lookups, quotes=False).all()[0]


def shell_words(text: str, *, raw: bool) -> list[str]:
    """The words of a shell command: no variable has a value. `raw` keeps quotes and escapes. Raises WordError."""
    return _Expander(text, {}, "\\", None, keep_quotes=raw, keep_escapes=raw, keep_unset=True).all()[1]


def heredoc_name(text: str) -> tuple[str, bool]:
    """The name after `<<` without its quotes, and whether it had any; "" if it is not one word."""
    words = shell_words(text, raw=False)
    if len(words) != 1:
        return "", False
    kept = _Expander(text, {}, "\\", None, keep_quotes=True, keep_unset=True).all()[1]
    quotes = [sum(word.count(quote) for quote in "'\"") for word in (words[0], "".join(kept))]
    return words[0], quotes[0] != quotes[1]


class _Words:
    """Collects the words beside the expanded text."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._word = ""

    def add(self, text: str) -> None:
        """Text whose blanks separate words."""
        for part in re.split(r"(\s)", text):
            if _WORD_END.fullmatch(part):
                self.end()
            else:
                self._word += part

    def add_whole(self, text: str) -> None:
        """Text whose blanks are part of the word."""
        self._word += text

    def end(self) -> list[str]:
        if self._word:
            self.found.append(self._word)
            self._word = ""
        return self.found


class _Expander:
    def __init__(
        self,
        text: str,
        values: Mapping[str, str],
        escape: str,
        lookups: Lookups | None,
        *,
        quotes: bool = True,
        keep_quotes: bool = False,
        keep_escapes: bool = False,
        keep_unset: bool = False,
    ) -> None:
        self.text, self.at = text, 0
        self.values, self.escape, self.lookups = values, escape, lookups or Lookups()
        self.quotes, self.keep_quotes, self.keep_unset = quotes, keep_quotes, keep_unset
        self.keep_escapes = keep_escapes

    def all(self) -> tuple[str, list[str]]:
        """The whole text expanded, as one word and as words."""
        try:
            return self.until("", self.keep_escapes)
        except WordError as error:
            raise WordError(f"cannot expand {self.text!r}: {error}") from None

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        self.at += 1
        return self.text[self.at - 1 : self.at]

    def until(self, stop: str, keep_escapes: bool) -> tuple[str, list[str]]:
        """Expand up to an unquoted `stop`, which is taken, or to the end."""
        out: list[str] = []
        words = _Words()
        saved, self.keep_escapes = self.keep_escapes, keep_escapes
        try:
            while char := self.peek():
                if char == stop:
                    self.at += 1
                    return "".join(out), words.end()
                if char == "$":
                    out.append(self.dollar())
                    words.add(out[-1])
                elif char in "'\"" and self.quotes:
                    out.append(self.single() if char == "'" else self.double())
                    words.add_whole(out[-1])
                elif char == "<":
                    out.append(self.less())
                    words.add_whole(out[-1])
                elif char == self.escape:
                    self.at += 1
                    out.append((char if keep_escapes else "") + self.take())
                    words.add_whole(out[-1])
                else:
                    out.append(self.take())
                    words.add(char)
        finally:
            self.keep_escapes = saved
        if stop:
            raise WordError(f"missing {stop!r}")
        return "".join(out), words.end()

    def less(self) -> str:
        """`<<` takes the blanks that follow it, so that a here-document's name stays in its word."""
        start = self.at
        self.at += 1
        if self.peek() == "<":
            self.at += 1
            while self.peek() and self.peek() in " \t\r\n":
                self.at += 1
        return self.text[start : self.at]

    def single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise WordError("the closing single quote is missing")
        start, self.at = self.at, end + 1
        return self.text[start : end + 1] if self.keep_quotes else self.text[start + 1 : end]

    def double(self) -> str:
        quote = self.take() if self.keep_quotes else self.take()[:0]
        out: list[str] = [quote]
        while char := self.peek():
            if char == '"':
                self.at += 1
                return "".join([*out, quote])
            if char == "$":
                out.append(self.dollar())
                continue
            self.at += 1
            if char == self.escape:
                if self.keep_escapes:
                    out.append(char)
                if not self.peek():
                    break
                if self.peek() in ('"', "$", self.escape):
                    char = self.take()
            out.append(char)
        raise WordError("the closing double quote is missing")

    def dollar(self) -> str:
        self.at += 1
        if self.peek() == "{":
            self.at += 1
            return self.braces()
        name = self.name()
        if not name:
            return "$"
        value = self.get(name)
        if value is None:
            return f"${name}" if self.keep_unset else ""
        return value

    def name(self) -> str:
        if match := _NAME.match(self.text, self.at):
            self.at = match.end()
            return match[0]
        char = self.peek()
        if char and char in _SPECIAL:
            self.at += 1
            return char
        return ""

    def get(self, name: str) -> str | None:
        value = self.values.get(name)
        (self.lookups.missing if value is None else self.lookups.found).add(name)
        return value

    def braces(self) -> str:
        start = self.at
        if not self.peek():
            raise WordError("missing '}'")
        if self.peek() in "{}:":
            raise WordError(f"bad substitution ${{{self.peek()}")
        name = self.name()
        operator = self.take()
        if operator == "}":
            value = self.get(name)
            return ("${" + name + "}" if self.keep_unset else "") if value is None else value
        colon = operator == ":"
        if colon:
            operator = self.take()
        if operator and operator in "-+?":
            word = self.until("}", False)[0]
        elif operator and operator in "#%" and not colon:
            word = self.until("}", True)[0]
        elif operator == "/" and not colon:
            return self.replaced(name, start)
        else:
            shown = (":" if colon else "") + operator
            raise WordError(f"unsupported modifier ({shown}) in the substitution of {name}")
        value = self.get(name)
        if value is None and self.keep_unset:
            return "${" + self.text[start : self.at]
        if operator in "#%":
            every = word[:1] == operator
            return _trim(value or "", word[every:], suffix=operator == "%", longest=every)
        return _conditional(name, value, colon, operator, word)

    def replaced(self, name: str, start: int) -> str:
        every = self.peek() == "/"
        self.at += every
        pattern = self.until("/", True)[0]
        replacement = self.until("}", True)[0]
        value = self.get(name)
        if value is None:
            return "${" + self.text[start : self.at] if self.keep_unset else ""
        # Greedy, as in a shell: the longest match at the earliest place.
        return re.sub(_regex(pattern, ".*"), lambda _: replacement, value, count=0 if every else 1)


def _conditional(name: str, value: str | None, colon: bool, operator: str, word: str) -> str:
    is_set = bool(value) if colon else value is not None
    if operator == "-":
        return (value or "") if is_set else word
    if operator == "+":
        return word if is_set else ""
    if not is_set:
        raise WordError(f"{name}: {word or 'is not allowed to be ' + ('unset' if value is None else 'empty')}")
    return value or ""


def _trim(value: str, pattern: str, *, suffix: bool, longest: bool) -> str:
    regex = re.compile(_regex(pattern, ".*"))
    if suffix:
        starts = range(len(value) + 1) if longest else range(len(value), -1, -1)
        return next((value[:start] for start in starts if regex.fullmatch(value, start)), value)
    positions = range(len(value), -1, -1) if longest else range(len(value) + 1)
    return next((value[end:] for end in positions if regex.fullmatch(value, 0, end)), value)


def _regex(pattern: str, star: str) -> str:
    """Only * ? and \\ can be escaped; } and / are, to be part of ${…} at all."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\":
            escaped = pattern[at : at + 1]
            at += 1
            if not escaped or escaped not in "}/*?\\":
                raise WordError(f"invalid escape '\\{escaped}' in the pattern {pattern!r}")
            out.append(re.escape(escaped))
        elif char == "*":
            out.append(star)
        elif char == "?":
            out.append(".")
        else:
            out.append(re.escape(char))
    return "".join(out)
