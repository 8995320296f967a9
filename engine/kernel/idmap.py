"""Id maps of user namespaces (user_namespaces(7)): reading ours, writing a child's. Standard library only."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from engine.errors import OperationFailed

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from typing import TypeAlias

Range: TypeAlias = "tuple[int, int, int]"
"""Inside, outside, size: `size` ids from `inside` on map to those from `outside` on in the parent namespace."""

_ALL = 0, 0, 0xFFFFFFFF


def _range(line: str) -> Range:
    inside, outside, size = line.split()
    return int(inside), int(outside), int(size)


@functools.cache
def ours(kind: str = "uid") -> tuple[Range, ...]:
    """The map of our own user namespace; `kind` is uid or gid. The identity map if the kernel has no user
    namespaces."""
    try:
        with open(f"/proc/self/{kind}_map", encoding="utf-8") as file:
            return tuple(_range(line) for line in file)
    except OSError:
        return (_ALL,)


def initial() -> bool:
    """Whether we are in the initial user namespace, where creating devices and writing trusted.* attributes is
    allowed."""
    return ours() == (_ALL,)


def last_gid() -> int:
    """The highest group id in our namespace that fits a signed 32-bit number."""
    return min(max((inside + size - 1 for inside, _, size in ours("gid")), default=0), 0x7FFFFFFF)


def write(pid: int, uids: Iterable[Range], gids: Iterable[Range]) -> None:
    """Write the maps of the user namespace that `pid` has just created; requires CAP_SETUID and CAP_SETGID in ours."""
    for kind, ranges in (("uid", uids), ("gid", gids)):
        path = f"/proc/{pid}/{kind}_map"
        text = "".join(f"{inside} {outside} {size}\n" for inside, outside, size in ranges)
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise OperationFailed.of("write", path, error, hint=f"The map was {text.strip()!r}.") from error
