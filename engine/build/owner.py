"""--chown's user and group, looked up in the image's own /etc/passwd and /etc/group (passwd(5), group(5))."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import BuildFailed
from engine.image.tree import Tree


def resolve(text: str, root: Tree, warn: Callable[[str], None]) -> tuple[int, int]:
    """uid and gid for `user[:group]`, names or numbers; a user alone is also the group's name or number, and a colon
    without a group means root's.

    An unknown name means root, as with BuildKit; `warn` is called for it. Raises BuildFailed for an invalid number.
    """
    user, colon, group = text.partition(":")
    uid = _number(user, root, "etc/passwd", "user", warn)
    return uid, _number(group, root, "etc/group", "group", warn) if colon else _primary(user, uid, root)


def _primary(user: str, uid: int, root: Tree) -> int:
    """Docker: without a group, a number is taken for both, a name has the gid of its passwd entry."""
    if user.isdecimal():
        return uid
    for fields in _entries(root, "etc/passwd"):
        if fields[0] == user and len(fields) > 3 and fields[3].isdecimal():
            return int(fields[3])
    return uid


def _number(name: str, root: Tree, file: str, kind: str, warn: Callable[[str], None]) -> int:
    if name.isdecimal():
        if int(name) > 0xFFFFFFFE:
            raise BuildFailed(f"the {kind} id {name} is out of range")
        return int(name)
    for fields in _entries(root, file):
        if fields[0] == name and len(fields) > 2 and fields[2].isdecimal():
            return int(fields[2])
    if name not in ("", "root") and root.lstat(file) is None:
        raise BuildFailed(f"unable to convert {kind} {name!r} to an id: the image has no /{file}")
    if name not in ("", "root"):
        warn(f"the {kind} {name!r} is not in the image's /{file}: using root instead")
    return 0


def _entries(root: Tree, file: str) -> list[list[str]]:
    text = (root.read(file) or b"").decode("utf-8", "replace")
    return [line.split(":") for line in text.splitlines()]
