"""Write YAML, with docker compose's quoting and layout (the conventions of libyaml's emitter).

Plain where that reads back as the same string, else single quotes, else double quotes; a literal block for several lines;
text beyond 80 columns is folded at a space; two columns for each level, also for the items of a list. Written by hand
because PyYAML's emitter needs seconds for hundreds of services.
"""

from __future__ import annotations

import re
from functools import cache, cmp_to_key, lru_cache

from composer.load.read.scalars import plain, timestamp

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

INDENT = "  "
WIDTH = 80
"""The column after which text continues on the next line."""

LONGEST_KEY = 128
"""A longer key, in bytes, is written after a question mark."""

OLD_BOOLEANS = frozenset("y Y yes Yes YES on On ON n N no No NO off Off OFF".split())
"""Booleans of YAML 1.1: quoted for YAML 1.1 readers."""

_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?\Z")
_INDICATORS = re.compile(r"(?:---|\.\.\.|[#,\[\]{}&*!|>'\"%@`]|[?:-](?:[ \t]|\Z))|.*?(?::(?:[ \t]|\Z)|[ \t]#)")
_SAFE = re.compile(r"[A-Za-z/$][A-Za-z0-9_/.$()-]*\Z")
"""Text that is plain unless it is a word with a special meaning."""

_BREAKS = frozenset("\n\r\x85\u2028\u2029")
_ESCAPES = {
    0x00: "0", 0x07: "a", 0x08: "b", 0x09: "t", 0x0A: "n", 0x0B: "v", 0x0C: "f", 0x0D: "r", 0x1B: "e",
    0x22: '"', 0x5C: "\\", 0x85: "N", 0xA0: "_", 0x2028: "L", 0x2029: "P",
}  # fmt: skip


def document(value: Any) -> str:
    """The text of a whole document, ended by a newline; mappings keep their order."""
    lines: list[str] = []
    if isinstance(value, dict | list) and value:
        _block(value, "", lines)
    else:
        lines.append(_leaf(value, "", 0))
    return "\n".join(lines) + "\n"


def _block(value: Any, indent: str, lines: list[str]) -> None:
    """Append the lines of a non-empty mapping or list, each beginning with `indent`."""
    if isinstance(value, list):
        for inner in value:
            _item(inner, indent, "- ", lines)
        return
    for key, inner in value.items():
        name = _key(key)
        if not name:
            lines.append(f"{indent}? {_leaf(key, indent, len(indent) + 2)}")
            _item(inner, indent, ": ", lines)
        elif isinstance(inner, dict | list) and inner:
            lines.append(f"{indent}{name}:")
            _block(inner, indent + INDENT, lines)
        else:
            lines.append(f"{indent}{name}: {_leaf(inner, indent, len(indent) + len(name) + 2)}")


def _item(value: Any, indent: str, mark: str, lines: list[str]) -> None:
    """A value after a mark of two columns, on the same line."""
    if isinstance(value, dict | list) and value:
        first = len(lines)
        _block(value, indent + INDENT, lines)
        lines[first] = indent + mark + lines[first][len(indent) + len(mark) :]
    else:
        lines.append(f"{indent}{mark}{_leaf(value, indent, len(indent) + len(mark))}")


@lru_cache(4096)
def _key(key: str) -> str:
    """A key before its colon; "" if it is too long for that, or has several lines."""
    if len(key.encode()) > LONGEST_KEY or not _BREAKS.isdisjoint(key):
        return ""
    return quoted(key)


def _leaf(value: Any, indent: str, column: int) -> str:
    """A scalar or an empty collection, which begins in a column."""
    if isinstance(value, str):
        if "\n" in value and _fits_block(value):
            return _literal(value, indent + INDENT)
        text = quoted(value)
        return text if column + len(text) <= WIDTH or " " not in text else _folded(text, indent + INDENT, column)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return "{}"
    return "[]" if isinstance(value, list) else str(value)


@lru_cache(4096)
def quoted(text: str) -> str:
    """A string on one line: plain, in single or in double quotes."""
    if text in OLD_BOOLEANS or text == "<<" or _SEXAGESIMAL.match(text):
        return f"'{text}'"
    if _means_something(text) or "\n" in text:
        return _double(text)
    if _SAFE.match(text):
        return text
    if "\t" in text or _unprintable(text):
        return _double(text)
    if text[0] == " " or text[-1] == " " or _INDICATORS.match(text):
        return "'" + text.replace("'", "''") + "'"
    return text


def _means_something(text: str) -> bool:
    """Whether the plain text would be read as something other than this string."""
    return not text or not isinstance(plain(text), str) or (text[:4].isdecimal() and bool(timestamp(text)))


def _double(text: str) -> str:
    return '"' + _escaped().sub(_escape, text) + '"'


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in _ESCAPES:
        return "\\" + _ESCAPES[code]
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _folded(text: str, indent: str, column: int) -> str:
    """A quoted or plain scalar, broken at the spaces after the last column of a line, as libyaml's emitter does."""
    lines, start, escaped = [], 0, ""
    double, margin = text[0] == '"', int(text[0] in "\"'")
    for match in re.finditer(" +", text):
        at, end = match.span()
        if column + len(escaped) + at - start <= WIDTH or not margin < at < len(text) - margin - 1:
            continue
        if end - at > 1 and not double:
            continue
        lines.append(escaped + text[start:at])
        start, column = at + 1, len(indent)
        escaped = "\\" if end > start else ""  # keeps a space that begins a line
    return f"\n{indent}".join([*lines, escaped + text[start:]])


def _fits_block(text: str) -> bool:
    """Whether a literal block keeps the text as it is."""
    return not (text[-1] == " " or " \n" in text or text.isspace() or _unprintable(text))


def _literal(text: str, indent: str) -> str:
    """A literal block; its header indicates leading spaces and final line breaks."""
    header = "|" + ("2" if text[0] == " " else "")
    if text[-1] != "\n":
        header += "-"
    elif len(text) == 1 or text[-2] == "\n":
        header += "+"
    lines = text.removesuffix("\n").split("\n")
    return "\n".join([header, *(f"{indent}{line}" if line else "" for line in lines)])


def number(value: float) -> str:
    """A float as Go's shortest %g."""
    if value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    figures = repr(value).partition("e")[0].replace(".", "").strip("-0") or "0"
    text = f"{value:.{len(figures) - 1}e}"
    size = int(text.partition("e")[2])
    return text if size < -4 or size >= 6 else f"{value:.{max(len(figures) - 1 - size, 0)}f}"


def sorted_keys(given: Iterable[str]) -> list[str]:
    """Keys in the order of docker compose's YAML: numbers in them by value, punctuation before letters."""
    keys = list(given)
    if len(keys) < 2:
        return keys
    if any(c.isdecimal() for key in keys for c in key):
        return sorted(keys, key=cmp_to_key(_compare))
    return sorted(keys, key=lambda key: [(c.isalpha(), c) for c in key])


def _compare(one: str, other: str) -> int:
    """-1, 0 or 1 for less, equal or greater: the first difference decides; see sorted_keys."""
    after_digit = False
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            after_digit = a.isdecimal()
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            return -1 if (a.isalpha() if after_digit else b.isalpha()) else 1
        return _compare_numbers(one, other, index)
    return (len(one) > len(other)) - (len(one) < len(other))


def _compare_numbers(one: str, other: str, index: int) -> int:
    lead = "1" if "0" in (one[index], other[index]) and _significant(one[:index]) else ""
    first, second = (re.match(r"\d*", text[index:])[0] for text in (one, other))  # type: ignore[index]
    a, b = (int(lead + digits or "0") for digits in (first, second))
    if a != b:
        return -1 if a < b else 1
    if len(first) != len(second):
        return -1 if len(first) < len(second) else 1
    return -1 if one[index] < other[index] else 1


def _significant(text: str) -> bool:
    """Whether the digits at the end of the text are not all zero."""
    return bool((re.search(r"\d*\Z", text) or [""])[0].strip("0"))


def _unprintable(text: str) -> bool:
    """Whether a character must be escaped."""
    if text.isascii():
        return not text.replace("\n", "").replace("\t", "").isprintable()
    return _hidden().search(text) is not None


@cache  # compiled on first use: each takes 5 ms
def _hidden() -> re.Pattern[str]:
    return re.compile("[^\n\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")


@cache
def _escaped() -> re.Pattern[str]:
    return re.compile('[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]|["\\\\]')
