"""The program's user: names are looked up in the container's /etc/passwd and /etc/group (passwd(5), group(5))."""

from __future__ import annotations

import errno
import os
import stat

from engine.errors import OperationFailed
from engine.kernel import calls, flags


class Identity:
    def __init__(self, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


_LIMIT = 16 << 20
"""The most bytes read from such a file."""
_LONGEST = 256
"""The most characters of a name in messages."""
_QUICK = 1 << 20
"""The limit for callers that must not block."""


class Slow(Exception):
    """The lookup could take long, because the file is large or on a mounted file system."""


def _rows(path: str, root: int, quick: bool) -> list[list[str]]:
    """Read the file safely: the image may have a FIFO there, which would block for ever, or an endless device."""
    resolve = flags.RESOLVE_IN_ROOT | (flags.RESOLVE_NO_XDEV if quick else 0)
    try:
        found = calls.openat2(root, path, flags.O_PATH, resolve=resolve)
    except OperationFailed as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return []
        if error.errno == errno.EXDEV:
            raise Slow(path) from error
        raise OperationFailed("read", path, error.errno, detail=os.strerror(error.errno)) from error
    try:
        status = os.fstat(found)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == flags.NULL_DEVICE:
            return []  # a bind of /dev/null hides the image's names
        # Do not even open a device: the keeper may open devices that the container can only create. No process of the
        # container runs yet that could replace the file. When one does run, we already have the container's restrictions,
        # or with `quick` the host's /proc, where we open the very file that we have seen.
        if not stat.S_ISREG(status.st_mode):
            raise OperationFailed("read", path, detail="it is not a regular file")
        if quick and status.st_size > _QUICK:
            raise Slow(path)
        if quick:
            fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        else:
            fd = calls.openat2(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve=resolve)
    except OSError as error:
        raise OperationFailed.of("read", path, error) from error
    finally:
        os.close(found)
    try:
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):  # it has been replaced since
                raise OperationFailed("read", path, detail="it is not a regular file")
            text = file.read(_LIMIT).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise OperationFailed.of("read", path, error) from error
    return [line.split(":") for line in text.splitlines()]


def root_of(pid: int | str) -> int:
    """The root directory of a process, for `resolve`. Raises OperationFailed."""
    path = f"/proc/{pid}/root"
    try:
        return os.open(path, flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("open", path, error) from error


def resolve(user: str, extra: list[str], root: int, *, quick: bool = False) -> Identity:
    """`user` is name, uid, name:group, uid:gid …, "" for root; `extra` are the additional groups; `root` is a descriptor of the
    container's root directory, which is closed. Raises OperationFailed, and Slow with `quick`."""
    try:
        return _resolve(user, extra, root, quick)
    finally:
        os.close(root)


def _is_id(text: str) -> bool:
    """Whether this is a valid numeric id. The largest 32-bit number means "no id" to the kernel."""
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < 0xFFFFFFFF


def _shown(name: str) -> str:
    """The name on one line, safe to print."""
    return repr(name)[1:-1] if len(name) <= _LONGEST else f"{repr(name[:_LONGEST])[1:-1]}…"


def _resolve(user: str, extra: list[str], root: int, quick: bool) -> Identity:
    passwd = [row for row in _rows("/etc/passwd", root, quick) if len(row) >= 6 and _is_id(row[2]) and _is_id(row[3])]
    group = [row for row in _rows("/etc/group", root, quick) if len(row) >= 4 and _is_id(row[2])]
    name, _, group_name = user.partition(":")
    name = name or "0"
    row = next((r for r in passwd if r[0] == name), None) or next((r for r in passwd if r[2] == name), None)
    if row:
        uid, gid, home, login = int(row[2]), int(row[3]), row[5] or "/", row[0]
    elif _is_id(name):
        uid, gid, home, login = int(name), 0, "/", ""
    else:
        raise OperationFailed("find", f"user {_shown(name)}", detail="no matching entry in the image's /etc/passwd")

    def gid_of(wanted: str) -> int:
        found = next((r for r in group if r[0] == wanted), None)
        if found:
            return int(found[2])
        if _is_id(wanted):
            return int(wanted)
        raise OperationFailed("find", f"group {_shown(wanted)}", detail="no matching entry in the image's /etc/group")

    groups = set() if group_name else {int(r[2]) for r in group if login and login in r[3].split(",")}
    if group_name:
        gid = gid_of(group_name)
    groups |= {gid_of(wanted) for wanted in extra}
    return Identity(uid, gid, tuple(sorted(groups | {gid})), home)
