"""The C library's allocator, for processes that run for long with many threads."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8


def share_one_arena() -> None:
    """Let all threads allocate from one arena (mallopt(3)): otherwise each keeps what it has freed. Without effect on
    a C library without arenas."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
