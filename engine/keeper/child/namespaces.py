"""Joining what is not made anew: other containers' namespaces, our cgroups; and the user namespace with its ids."""

from __future__ import annotations

import os

from engine.errors import OperationFailed
from engine.kernel import calls, flags, userns

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle


class Ids:
    """The container's user namespace: its descriptor, -1 for none, and its maps. Mounts are shifted by it, so that what
    is on the disc has the ids that the container sees."""

    def __init__(self, namespace: int = -1, uids: userns.Ranges = (), gids: userns.Ranges = ()) -> None:
        self.namespace = namespace
        self.uids = uids
        self.gids = gids

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """What chown(2) needs to be told, from where the namespace has not been entered."""
        if not self.uids:
            return uid, gid
        return userns.outside(self.uids, uid), userns.outside(self.gids, gid)


def maps(bundle: Bundle) -> Ids:
    """bundle["user"]: uids, gids (ranges [inside, outside, count]), None for the host's user namespace."""
    user = bundle.get("user")
    if not user:
        return Ids()
    return Ids(-1, user["uids"], user["gids"])


def user_namespace(bundle: Bundle) -> Ids:
    """Make or open it."""
    ids, where = maps(bundle), bundle["namespaces"]["user"]
    ids.namespace = userns.create(ids.uids, ids.gids) if where == "new" else open_namespace(where)
    return ids


def enter_cgroups(procs: list[str]) -> None:
    """Move ourselves ("0") into each cgroup (cgroups(7)); before the cgroup namespace is made, so that it is its root."""
    for path in procs:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, b"0")
            finally:
                os.close(fd)
        except OSError as error:
            raise OperationFailed.of("enter cgroup", path, error) from error


def bits(wanted: dict[str, str]) -> int:
    """clone(2)'s flags for what is made anew; the cgroup namespace comes later, the user namespace was there before."""
    return sum(flags.CLONE[kind] for kind, value in wanted.items() if value == "new" and kind not in ("cgroup", "user"))


def open_namespace(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("join the namespace", path, error) from error


def others(wanted: dict[str, str]) -> dict[str, int]:
    """Descriptors of the namespaces to be joined, by kind; those of pid and user are joined elsewhere."""
    return {
        kind: open_namespace(value)
        for kind, value in wanted.items()
        if kind not in ("pid", "user") and value.startswith("/")
    }


def join(wanted: dict[str, str], opened: dict[str, int]) -> None:
    """`wanted`: kind → "new", "host" or the path of a namespace file. New ones but cgroup were made by the clone."""
    for kind, fd in opened.items():
        calls.setns(fd, flags.CLONE[kind], subject=wanted[kind])
        os.close(fd)
    if wanted.get("cgroup") == "new":
        calls.unshare(flags.CLONE["cgroup"])
