"""A small terminal: the content of the screen after some output. It knows only the control sequences that we write."""

from __future__ import annotations

import re

SEQUENCE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


class Screen:
    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines: list[str] = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> Screen:
        place = 0
        while place < len(text):
            match = SEQUENCE.match(text, place)
            if match:
                self._control(match[1], match[2])
                place = match.end()
            else:
                self._put(text[place])
                place += 1
        return self

    def resize(self, columns: int) -> None:
        """Lines wrap at the new width, as terminals that reflow do."""
        wrapped: list[str] = []
        for index, line in enumerate(self.lines):
            if index == self.row:
                self.row = len(wrapped)
            wrapped += [line[i : i + columns] for i in range(0, len(line), columns)] or [""]
        self.lines, self.columns = wrapped, columns

    def _control(self, numbers: str, letter: str) -> None:
        if letter == "A":
            self.row = max(self.row - int(numbers or 1), 0)
        elif letter == "J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]
        elif letter == "H":
            self.row = self.column = 0
        else:
            assert letter in "mhlK", f"unknown control sequence {numbers}{letter}"

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
            return
        if character == "\n":
            self.row, self.column = self.row + 1, 0
        else:
            if self.column == self.columns:
                self.row, self.column = self.row + 1, 0
                self._grow()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1
        self._grow()

    def _grow(self) -> None:
        while self.row >= len(self.lines):
            self.lines.append("")

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")
