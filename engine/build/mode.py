"""File modes as --chmod takes them: octal, or chmod(1)'s symbols (u=rwX,go=rX)."""

from __future__ import annotations

import re
import stat

from msgspec import Struct

_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_CLAUSE = re.compile(rf"([ugoa]*)((?:{_ACTION.pattern.replace('(', '(?:')})+)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


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
            for operator, permissions in _ACTION.findall(match[2]):
                bits = self._changed(bits, mode, match[1], operator, permissions)
        return bits

    @staticmethod
    def _changed(bits: int, mode: int, classes: str, operator: str, permissions: str) -> int:
        classes = "ugo" if not classes or "a" in classes else classes
        executable = stat.S_ISDIR(mode) or bits & 0o111
        value = cleared = 0
        for name in classes:
            shift = _SHIFTS[name]
            cleared |= 7 << shift
            for permission in permissions:
                if permission in _SHIFTS:
                    value |= (bits >> _SHIFTS[permission] & 7) << shift
                elif permission in _BITS:
                    value |= _BITS[permission] << shift
                elif permission == "X" and executable:
                    value |= 1 << shift
        if "s" in permissions:
            value |= (stat.S_ISUID if "u" in classes else 0) | (stat.S_ISGID if "g" in classes else 0)
        if "t" in permissions:
            value |= stat.S_ISVTX
        if operator == "+":
            return bits | value
        return bits & ~value if operator == "-" else (bits & ~cleared) | value
