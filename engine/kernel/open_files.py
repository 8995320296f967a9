"""The limit of open descriptors (RLIMIT_NOFILE, getrlimit(2)). A supervisor raises it when it publishes many ports, and
a server for its clients; their children get the original limit, which containers inherit."""

from __future__ import annotations

import contextlib
import resource

_original: tuple[int, int] | None = None


def raise_limit() -> bool:
    """Raise our limit as far as the kernel permits; root may exceed the hard limit. Returns whether it is higher now."""
    global _original
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for highest in (_most(), hard):
        if highest > soft:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest, max(highest, hard)))
                _original = _original or (soft, hard)
                return True
    return False


def restore(pid: int) -> None:
    """Give a new child the limit from before."""
    if _original is not None:
        with contextlib.suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _original)


def _most() -> int:
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/fs/nr_open", encoding="ascii") as file:
        return int(file.read())
    return 0
