"""The error of the parsers of short forms."""

from __future__ import annotations


class ShortFormError(ValueError):
    """The text does not match the grammar; the message says why."""
