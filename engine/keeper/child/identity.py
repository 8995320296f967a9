"""Whom the program runs as: names from the container's own /etc/passwd and /etc/group (passwd(5), group(5))."""

from __future__ import annotations

from typing import NamedTuple

from engine.errors import OperationFailed


class Identity(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def _rows(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return [line.rstrip("\n").split(":") for line in file]
    except (FileNotFoundError, NotADirectoryError):
        return []


def resolve(user: str, extra: list[str]) -> Identity:
    """`user` is name, uid, name:group, uid:gid …, "" for root; `extra` are the additional groups. We are inside the root."""
    passwd = [row for row in _rows("/etc/passwd") if len(row) >= 6 and row[2].isdigit() and row[3].isdigit()]
    group = [row for row in _rows("/etc/group") if len(row) >= 4 and row[2].isdigit()]
    name, _, group_name = user.partition(":")
    name = name or "0"
    row = next((r for r in passwd if r[0] == name), None) or next((r for r in passwd if r[2] == name), None)
    if row:
        uid, gid, home, login = int(row[2]), int(row[3]), row[5] or "/", row[0]
    elif name.isdigit():
        uid, gid, home, login = int(name), 0, "/", ""
    else:
        raise OperationFailed("find", f"user {name}", detail="no matching entry in the image's /etc/passwd")

    def gid_of(wanted: str) -> int:
        found = next((r for r in group if r[0] == wanted), None)
        if found:
            return int(found[2])
        if wanted.isdigit():
            return int(wanted)
        raise OperationFailed("find", f"group {wanted}", detail="no matching entry in the image's /etc/group")

    groups = set() if group_name else {int(r[2]) for r in group if login and login in r[3].split(",")}
    if group_name:
        gid = gid_of(group_name)
    groups |= {gid_of(wanted) for wanted in extra}
    return Identity(uid, gid, tuple(sorted(groups | {gid})), home)
