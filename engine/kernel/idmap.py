"""Id maps of user namespaces (user_namespaces(7)): reading ours, writing a child's. Standard library only."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

from engine.errors import OperationFailed

_ALL = 0xFFFFFFFF


class Range(NamedTuple):
    """`size` ids from `inside` on, which are those from `outside` on in the parent namespace."""

    inside: int
    outside: int
    size: int


@functools.cache
def ours(kind: str = "uid") -> tuple[Range, ...]:
    """The map of our own user namespace; `kind` is uid or gid. Everything where the kernel has none."""
    try:
        with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
            return tuple(Range(*(int(word) for word in line.split())) for line in file)
    except OSError:
        return (Range(0, 0, _ALL),)


def initial() -> bool:
    """Whether we are in the initial user namespace: devices may be made, trusted.* attributes written."""
    return ours() == (Range(0, 0, _ALL),)


def last_gid() -> int:
    """The highest group id that exists in our namespace and that a signed 32-bit number holds."""
    return min(max((one.inside + one.size - 1 for one in ours("gid")), default=0), 0x7FFFFFFF)


def write(pid: int, uids: Iterable[Range], gids: Iterable[Range]) -> None:
    """Write the maps of the user namespace that `pid` has just made; needs CAP_SETUID and CAP_SETGID in ours."""
    for kind, ranges in (("uid", uids), ("gid", gids)):
        path = f"/proc/{pid}/{kind}_map"
        text = "".join(f"{one.inside} {one.outside} {one.size}\n" for one in ranges)
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            raise OperationFailed.of("write", path, error, hint=f"The map was {text.strip()!r}.") from error
