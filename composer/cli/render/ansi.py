"""Colours, and when to use them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

from composer.load.printable import escaped

RESET = "\x1b[0m"
RED, GREEN, YELLOW, BLUE = "31", "32", "33", "34"

PREFIXES = ("36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1")
"""Colours of log prefixes, dealt out in order: cyan, yellow, green, magenta, blue, and the same in bold."""


def paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}{RESET}"


def uncoloured(text: str) -> str:
    """Untrusted text without colours, and with escapes for all other control characters."""
    if "\x1b" in text:
        import re

        text = re.sub(r"\x1b\[[0-9;:]*m", "", text)
    return escaped(text)


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False


def wants_control(mode: str, stream: TextIO) -> bool:
    """Whether control characters may be written: --ansi never | always | auto (only to a terminal)."""
    return mode == "always" or (mode != "never" and is_terminal(stream))


def wants_colour(mode: str, stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """As `wants_control`, but not with NO_COLOR (no-color.org) or a dumb terminal, unless --ansi is always."""
    if mode == "always":
        return True
    return wants_control(mode, stream) and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
