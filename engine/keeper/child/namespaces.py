"""A container's namespaces, new and joined ones, its cgroups, and its user namespace with id maps."""

from __future__ import annotations

import os

from engine.errors import OperationFailed
from engine.kernel import flags, idmap, userns

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle
    from engine.keeper.child.kernel import Kernel
    from engine.keeper.child.progress import Progress


class Ids:
    """The container's user namespace: its descriptor, -1 for none, and its maps. Mounts are mapped by it, so that files
    on disk have the ids that the container sees."""

    def __init__(self, namespace: int = -1, uids: userns.Ranges = (), gids: userns.Ranges = ()) -> None:
        self.namespace = namespace
        self.uids = uids
        self.gids = gids

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner to give to chown(2) outside the namespace."""
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
    """Create or open the user namespace."""
    ids, where = maps(bundle), bundle["namespaces"]["user"]
    ids.namespace = userns.create(ids.uids, ids.gids) if where == "new" else open_namespace(where)
    return ids


def only_directly(bundle: Bundle) -> str:
    """Why a recorded start cannot enter these namespaces; see steps.py."""
    kinds = bundle["namespaces"]
    if kinds.get("user", "host") != "host" or not idmap.initial():
        return "a user namespace"
    if kinds["pid"] != "new":
        return "processes that are there already"
    return "" if kinds["mount"] == "new" else "another's mounts"


def make(kernel: Kernel, progress: Progress) -> None:
    """Create new namespaces with unshare(2), for a process that was cloned only into a new pid namespace, which is
    fast. The cgroup namespace comes later, so that its root is our cgroup."""
    kernel.unshare(bits(progress.bundle["namespaces"]) & ~flags.CLONE["pid"])


def enter_cgroups(kernel: Kernel, progress: Progress) -> None:
    """Move ourselves ("0") into each cgroup (cgroups(7)), before the cgroup namespace is created, so that the cgroup
    becomes its root."""
    for path in progress.bundle["cgroup_procs"]:
        try:
            fd = kernel.open(path, os.O_WRONLY)
            try:
                kernel.write(fd, b"0")
            finally:
                kernel.close(fd)
        except OSError as error:
            raise OperationFailed.of("enter cgroup", path, error) from error


def bits(wanted: dict[str, str]) -> int:
    """The flags of clone(2) for new namespaces. The user namespace already exists, and the cgroup namespace comes
    later."""
    return sum(flags.CLONE[kind] for kind, value in wanted.items() if value == "new" and kind not in ("cgroup", "user"))


def open_namespace(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed.of("join the namespace", path, error) from error


def open_others(kernel: Kernel, progress: Progress) -> None:
    """Open the namespaces to join, while we have the host's privileges; pid and user are joined elsewhere."""
    for kind, value in progress.bundle["namespaces"].items():
        if kind not in ("pid", "user") and value.startswith("/"):
            try:
                progress.joined[kind] = kernel.open(value, os.O_RDONLY)
            except OSError as error:
                raise OperationFailed.of("join the namespace", value, error) from error


def join(kernel: Kernel, progress: Progress) -> None:
    """Join the opened namespaces, and create the cgroup namespace."""
    kinds = progress.bundle["namespaces"]
    for kind, fd in progress.joined.items():
        kernel.setns(fd, flags.CLONE[kind], subject=kinds[kind])
        kernel.close(fd)
    progress.joined.clear()
    if kinds.get("cgroup") == "new":
        kernel.unshare(flags.CLONE["cgroup"])
