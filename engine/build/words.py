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

_SPECIAL = "@*#?-$!0123456789"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class WordError(ValueError):
    """The word cannot be expanded; the message says why."""


def split(text: str, escape: str = "\\") -> list[str]:
    """Split at blanks outside quotes; quotes and escapes stay in the words."""
    words: list[str] = []
    word, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'" and at + 1 < len(text):
            word += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in " \t\n":
            if word:
                words.append(word)
            word, at = "", at + 1
            continue
        word += char
        at += 1
    return [*words, word] if word else words


def expand(text: str, values: Mapping[str, str], escape: str = "\\", *, used: set[str] | None = None) -> str:
    """`text` as one word, with variables replaced and quotes removed. Names looked up are added to `used`.

    Raises WordError for malformed substitutions and for `:?`.
    """
    return _Expander(values, escape, used if used is not None else set()).word(text)


def expand_words(
    text: str, values: Mapping[str, str], escape: str = "\\", *, used: set[str] | None = None
) -> list[str]:
    """As `expand`, split into words at unquoted blanks first."""
    return [expand(word, values, escape, used=used) for word in split(text, escape)]


def expand_heredoc(text: str, values: Mapping[str, str], escape: str = "\\", *, used: set[str] | None = None) -> str:
    """A here-document's content: variables are replaced, quotes are ordinary characters."""
    return _Expander(values, escape, used if used is not None else set(), quotes=False).word(text)


class _Expander:
    def __init__(self, values: Mapping[str, str], escape: str, used: set[str], *, quotes: bool = True) -> None:
        self.values, self.escape, self.used, self.quotes = values, escape, used, quotes
        self.text = ""
        self.at = 0

    def word(self, text: str) -> str:
        saved = self.text, self.at
        self.text, self.at = text, 0
        try:
            return self.until("")
        finally:
            self.text, self.at = saved

    def until(self, stop: str, *, keep_escapes: bool = False) -> str:
        """Expand up to (not including) an unquoted character of `stop`, or the end."""
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in stop and stop:
                break
            if char == "'" and self.quotes:
                out.append(self.single())
            elif char == '"' and self.quotes:
                out.append(self.double())
            elif char == "$":
                out.append(self.dollar())
            elif char == self.escape:
                out.append(self.escaped(keep_escapes))
            else:
                out.append(char)
                self.at += 1
        return "".join(out)

    def escaped(self, keep: bool) -> str:
        following = self.text[self.at + 1 : self.at + 2]
        self.at += 2
        if not following or keep or (not self.quotes and following not in ("$", self.escape)):
            return self.escape + following
        return following

    def single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise WordError("unexpected end of statement while looking for matching single-quote")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return inner

    def double(self) -> str:
        self.at += 1
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return "".join(out)
            if char == "$":
                out.append(self.dollar())
            elif char == self.escape:
                following = self.text[self.at + 1 : self.at + 2]
                out.append(following if following in ('"', "$", self.escape) else self.escape + following)
                self.at += 2
            else:
                out.append(char)
                self.at += 1
        raise WordError("unexpected end of statement while looking for matching double-quote")

    def dollar(self) -> str:
        self.at += 1
        following = self.text[self.at : self.at + 1]
        if following == "{":
            self.at += 1
            return self.braces()
        name = self.name()
        if not name:
            return "$"
        return self.get(name) or ""

    def name(self) -> str:
        match = _NAME.match(self.text, self.at)
        if match:
            self.at = match.end()
            return match[0]
        char = self.text[self.at : self.at + 1]
        if char and char in _SPECIAL:
            self.at += 1
            return char
        return ""

    def get(self, name: str) -> str | None:
        self.used.add(name)
        return self.values.get(name)

    def braces(self) -> str:
        start = self.at
        name = self.name()
        if not name:
            raise WordError(f"bad substitution: ${{{self.text[start : start + 20]}")
        rest = self.text[self.at : self.at + 2]
        if rest[:1] == "}":
            self.at += 1
            return self.get(name) or ""
        value = self.get(name)
        colon = rest[:1] == ":"
        operator = rest[1:2] if colon else rest[:1]
        if operator and operator in "-+?":
            self.at += 2 if colon else 1
            return self.conditional(name, value, colon, operator)
        if operator in ("#", "%") and not colon:
            double = rest == operator * 2
            self.at += 2 if double else 1
            pattern = self.until("}", keep_escapes=True)
            self.close(name)
            return _trim(value or "", pattern, suffix=operator == "%", longest=double, escape=self.escape)
        if operator == "/" and not colon:
            every = rest == "//"
            self.at += 2 if every else 1
            pattern = self.until("/}", keep_escapes=True)
            replacement = ""
            if self.text[self.at : self.at + 1] == "/":
                self.at += 1
                replacement = self.until("}")
            self.close(name)
            # Greedy, as in a shell: the longest match at the earliest place.
            matcher = re.compile(_regex(pattern, self.escape), re.DOTALL)
            return matcher.sub(lambda _: replacement, value or "", count=0 if every else 1)
        if not rest:
            raise WordError(f"missing }} after ${{{name}")
        raise WordError(f"unsupported modifier ({rest}) in substitution of {name}")

    def conditional(self, name: str, value: str | None, colon: bool, operator: str) -> str:
        word = self.until("}")
        self.close(name)
        is_set = bool(value) if colon else value is not None
        if operator == "-":
            return (value or "") if is_set else word
        if operator == "+":
            return word if is_set else ""
        if not is_set:
            raise WordError(f"{name}: {word or 'not allowed to be ' + ('empty' if colon else 'unset')}")
        return value or ""

    def close(self, name: str) -> None:
        if self.text[self.at : self.at + 1] != "}":
            raise WordError(f"missing }} after ${{{name}")
        self.at += 1


def _trim(value: str, pattern: str, *, suffix: bool, longest: bool, escape: str) -> str:
    regex = re.compile(_regex(pattern, escape), re.DOTALL)
    if suffix:
        starts = range(len(value) + 1) if longest else range(len(value), -1, -1)
        return next((value[:start] for start in starts if regex.fullmatch(value, start)), value)
    ends = range(len(value), -1, -1) if longest else range(len(value) + 1)
    return next((value[end:] for end in ends if regex.fullmatch(value, 0, end)), value)


def _regex(pattern: str, escape: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == escape and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at]))
        elif char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)
