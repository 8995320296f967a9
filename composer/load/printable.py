"""Make untrusted text safe to print: escape everything that a terminal would interpret."""

from __future__ import annotations

_JOINERS = "\u200c\u200d"
"""Zero-width characters that scripts and emoji need."""


def printable(text: str) -> str:
    """The text with escapes for all invisible characters except line feeds and spaces."""
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escaped(text: str) -> str:
    r"""The text with control, direction and invisible characters as escapes; line feeds, tabs and all spaces stay.

    Characters that JSON always escapes become \x1b, others \u009b, so that JSON stays valid JSON.
    """
    if text.isprintable() or text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else _escape(c) for c in text)


def one_line(text: str) -> str:
    """As `escaped`, but line feeds and tabs are escaped too, so that a table cell cannot start a new row."""
    return escaped(text) if text.isprintable() else escaped(text.replace("\n", "\\n").replace("\t", "\\t"))


def _escape(character: str) -> str:
    from unicodedata import category

    number = ord(character)
    if character in _JOINERS or category(character) in ("Zs", "Cn", "Co"):
        return character
    if number < 0x20:
        return f"\\x{number:02x}"
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
