"""--chown's user and group, looked up in the image's own /etc/passwd and /etc/group (passwd(5), group(5))."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import BuildFailed
from engine.image.tree import Tree


def resolve(text: str, root: Tree, warn: Callable[[str], None], *, empty: bool = False) -> tuple[int, int]:
    """uid and gid for `user[:group]`, names or numbers; a user alone is also the group's name or number, and a colon
    without a group means root's.

    As with BuildKit, an unknown user is root, and an unknown group the user's own; `warn` is called for both. Raises
    BuildFailed for an invalid number, and for a name in a stage that is still `empty`.
    """
    user, colon, group = text.partition(":")
    for kind, name in (("user", user), ("group", group)):
        if empty and name not in ("", "root") and not name.isdecimal():
            raise BuildFailed(f"unable to convert {kind} {name!r} to an id: the stage has no files yet")
    uid = _number(user, root, "etc/passwd", "user")
    if uid is None:
        warn(f"the user {user!r} is not in the image's /etc/passwd: using root instead")
        uid = 0
    own = _primary(user, uid, root)
    if not colon:
        return uid, own
    gid = _number(group, root, "etc/group", "group")
    if gid is None:
        warn(f"the group {group!r} is not in the image's /etc/group: using {own} instead")
    return uid, own if gid is None else gid


def _primary(user: str, uid: int, root: Tree) -> int:
    """Docker: without a group, a number is taken for both, a name has the gid of its passwd entry."""
    if user.isdecimal():
        return uid
    for fields in _entries(root, "etc/passwd"):
        if fields[0] == user and len(fields) > 3 and fields[3].isdecimal():
            return int(fields[3])
    return uid


def _number(name: str, root: Tree, file: str, kind: str) -> int | None:
    """None for a name that is not in the file."""
    if name.isdecimal():
        if int(name) > 0xFFFFFFFE:
            raise BuildFailed(f"the {kind} id {name} is out of range")
        return int(name)
    for fields in _entries(root, file):
        if fields[0] == name and len(fields) > 2 and fields[2].isdecimal():
            return int(fields[2])
    return 0 if name in ("", "root") else None


def _entries(root: Tree, file: str) -> list[list[str]]:
    text = (root.read(file) or b"").decode("utf-8", "replace")
    return [line.split(":") for line in text.splitlines()]
