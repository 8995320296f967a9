"""File modes as --chmod takes them: octal, or chmod(1)'s symbols (u=rwX,go=rX).

As in BuildKit, the symbols have the meaning of BSD's chmod(1): `=` clears the set-id bits of directories, too, and a
sticky bit without a class (`=rwxt`) is the only one that changes.
"""

from __future__ import annotations

import re
import stat

from msgspec import Struct

_ACTION = re.compile(r"([-+=])([ugorwxXst]*)")
_PART = re.compile(r"[ugo]|[rwxXst]+")
_CLAUSE = re.compile(rf"([ugoa]*)((?:{_ACTION.pattern.replace('(', '(?:')})+)")
_CLASSES = {"u": 0o4700, "g": 0o2070, "o": 0o7, "a": 0o6777}
"""The bits of each class."""
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111, "X": 0o111, "s": 0o6000, "t": 0o1000}


class Mode(Struct, frozen=True):
    """A parsed --chmod; `of` applies it to a file's present mode."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Mode:
        """Raises ValueError for a mode that chmod(1) would refuse."""
        octal = re.fullmatch(r"0*[0-7]{1,4}", text)
        if not octal and not all(_CLAUSE.fullmatch(clause) for clause in text.split(",")):
            raise ValueError(
                f"invalid chmod parameter {text!r}: expected octal digits or a symbolic mode such as u=rwX,go=rX"
            )
        return cls(text)

    @property
    def octal(self) -> bool:
        """Whether it is a number, and so the mode itself."""
        return self.text.isdecimal()

    def of(self, mode: int) -> int:
        """The permission bits for a file whose st_mode is `mode`."""
        if self.octal:
            return int(self.text, 8)
        bits = stat.S_IMODE(mode)
        for clause in self.text.split(","):
            match = _CLAUSE.fullmatch(clause)
            assert match
            classes = 0
            for letter in match[1]:
                classes |= _CLASSES[letter]
            for operator, permissions in _ACTION.findall(match[2]):
                for part in _PART.findall(permissions) or [""]:
                    bits = _changed(bits, mode, classes, operator, part)
        return bits


def _changed(bits: int, mode: int, classes: int, operator: str, permissions: str) -> int:
    """The bits after one operator with one class to copy, or with permissions."""
    if "t" in permissions and classes != _CLASSES["o"]:
        classes |= stat.S_ISVTX  # without a class, it becomes the only bit that changes
    scope = classes or _CLASSES["a"]
    if permissions in _SHIFTS:
        scope &= 0o777
        value = (bits >> _SHIFTS[permissions] & 7) * 0o111
    else:
        value = 0
        for permission in permissions:
            if permission != "X" or stat.S_ISDIR(mode) or mode & 0o111:
                value |= _BITS[permission]
        if classes == _CLASSES["o"]:
            value &= 0o777
    value &= scope
    if operator == "+":
        return bits | value
    return bits & ~value if operator == "-" else bits & ~scope | value
