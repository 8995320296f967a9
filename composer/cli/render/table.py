"""Columns padded to their widest cell; the last one is never padded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from composer.load.printable import one_line

MINIMUM = 10
"""Characters of a column in most of docker's tables, with the space between."""


def table(rows: Iterable[Sequence[str]], *, minimum: int = 0, padding: int = 3) -> str:
    """The rows (the first is the header) as lines, each ended by a newline and free of control characters.

    A column is as wide as its widest cell and `padding`, and at least `minimum`.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(minimum, max(map(len, column)) + padding) for column in zip(*cells, strict=True)]
    return "".join(
        "".join(f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=False)) + row[-1] + "\n"
        for row in cells
    )


def shorten(text: str, width: int) -> str:
    """Cut to `width` characters, the last one an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"
