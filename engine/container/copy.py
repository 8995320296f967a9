"""cp: tar archives out of and into a container, running or not.

Paths mean what they mean inside: each is resolved below the container's root by openat2(2) on descriptors, so that no
link, however it is swapped meanwhile, leads to a file of the host's.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator

from engine.container.export import Writer
from engine.container.filesystem import whole
from engine.container.in_userns import with_its_ids
from engine.errors import InvalidSpec, NotFound, OperationFailed
from engine.image.images import ImageStore
from engine.image.layer.pack import Skip, pack_open
from engine.image.layer.unpack import unpack
from engine.image.tree import Tree
from engine.kernel import calls, flags
from engine.spec.state import ContainerRecord
from engine.spec.stream import PathStatus

_CHUNK = 1 << 20
_KERNELS = {flags.PROC_SUPER_MAGIC, flags.SYSFS_MAGIC, flags.CGROUP_SUPER_MAGIC, flags.CGROUP2_SUPER_MAGIC}
"""File systems whose files are the kernel's answers, not content."""
_SYSTEM = ("proc", "sys", "dev")
_LINKS = 40
"""Links that are followed, as the kernel does (path_resolution(7))."""


@with_its_ids
def copy_out(images: ImageStore, record: ContainerRecord, path: str, output: int, *, follow: bool = False) -> None:
    """See composer.run.port.Streams.copy_out. `/proc`, `/sys` and `/dev` are left out of what they are below of."""
    with whole(images, record) as root, Tree(root, record.spec.name) as tree:
        directory = path.endswith(("/", "/."))
        place = _normal(path)
        try:
            found = tree.open(place, os.O_PATH | (0 if follow or directory else os.O_NOFOLLOW))
        except OSError as error:
            raise _missing(record, path, error) from error
        try:
            status = os.fstat(found)
            if directory and not stat.S_ISDIR(status.st_mode):
                raise InvalidSpec(f"{record.spec.name}:{path} is not a directory")
            if calls.filesystem_type(found) in _KERNELS:
                raise InvalidSpec(f"{record.spec.name}:{path} is a kernel file without content to copy")
            last = place.rpartition("/")[2]
            label = "." if path.endswith("/.") or last in ("", "..") else last
            pack_open(found, label, Writer(output), skip=_below_system(tree, status))
        finally:
            os.close(found)


def path_status(images: ImageStore, record: ContainerRecord, path: str) -> PathStatus:
    """See composer.run.port.Streams.path_status."""
    with whole(images, record) as root, Tree(root, record.spec.name) as tree:
        place = _normal(path)
        status = tree.lstat(place)
        if status is None:
            raise NotFound("file or directory", f"{record.spec.name}:{path}")
        target = ""
        if stat.S_ISLNK(status.st_mode):
            if path.endswith(("/", "/.")):
                place = _led_to(tree, place)
                status = tree.lstat(place) or status
            else:
                target = f"/{_led_to(tree, place)}"
        return PathStatus(
            name=place.rpartition("/")[2] or "/",
            size=status.st_size,
            mode=status.st_mode,
            modified_at=status.st_mtime,
            target=target,
        )


def _led_to(tree: Tree, place: str) -> str:
    """Where the link at `place` leads in the end, by what its text says; the last step need not exist."""
    for _ in range(_LINKS):
        status = tree.lstat(place)
        if status is None or not stat.S_ISLNK(status.st_mode):
            break
        fd = tree.open(place, os.O_PATH | os.O_NOFOLLOW)
        try:
            text = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        joined = text if text.startswith("/") else posixpath.join("/", posixpath.dirname(place), text)
        place = posixpath.normpath(joined).lstrip("/")
    return place


def _below_system(tree: Tree, start: os.stat_result) -> Skip:
    """Tells the directories where /proc, /sys and /dev are mounted, unless the copy begins there."""
    found = {status.st_dev for name in _SYSTEM if (status := tree.lstat(name))}
    found -= {os.fstat(tree.root).st_dev, start.st_dev}
    return lambda status: status.st_dev in found


@with_its_ids
def copy_in(
    images: ImageStore, record: ContainerRecord, path: str, source: int, *, keep_owner: bool = False, tree: str = ""
) -> None:
    """See composer.run.port.Streams.copy_in. Without `keep_owner` everything becomes root's."""
    with whole(images, record) as root, Tree(root, record.spec.name) as files:
        place = _normal(path)
        subject = f"the archive for {record.spec.name}:{path}"
        rename = None
        if not _is_directory(files, place):
            if tree == "several" or path.endswith(("/", "/.")):
                raise NotFound("directory", f"{record.spec.name}:{path}")
            if tree == "directory" and _exists(files, place):
                raise InvalidSpec(f"cannot copy directory: {record.spec.name}:{path} is a file")
            place, _, name = place.rpartition("/")
            if not _is_directory(files, place):
                raise NotFound("directory", f"{record.spec.name}:/{place}")
            rename = _one_tree(name, subject)
        owner = None if keep_owner else (0, 0)
        unpack(pieces(source), root, subject, below=place, layer=False, owner=owner, rename=rename)


def _one_tree(name: str, subject: str) -> Callable[[str], str]:
    """Entries of the archive's only tree, which may be ".", below `name` instead."""
    seen: set[str] = set()

    def rename(path: str) -> str:
        head, _, rest = path.partition("/")
        if "" in seen or not path:
            seen.add("")
            return f"{name}/{path}".rstrip("/")
        seen.add(head)
        if len(seen) > 1:
            raise InvalidSpec(f"{subject} has several entries and its target is not a directory")
        return f"{name}/{rest}" if rest else name

    return rename


def _is_directory(tree: Tree, path: str) -> bool:
    try:
        os.close(tree.open(path, os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False
    return True


def _exists(tree: Tree, path: str) -> bool:
    try:
        os.close(tree.open(path, os.O_PATH))
    except OSError:
        return False
    return True


def pieces(source: int) -> Iterator[bytes]:
    """What can be read from a descriptor. Raises OSError."""
    while data := os.read(source, _CHUNK):
        yield data


def _normal(path: str) -> str:
    """The path below the root, without "." components; ".." stays for the kernel, which knows about links."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return posixpath.join("", *parts)


def _missing(record: ContainerRecord, path: str, error: OSError) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFound("file or directory", f"{record.spec.name}:{path}")
    return OperationFailed.of("open", f"{record.spec.name}:{path}", error)
