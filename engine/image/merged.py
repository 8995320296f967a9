"""The merged root of a stack of layers, as the descriptor of an overlay mount outside all mount namespaces.

No other process can see it or reach it by a path, and it disappears with the descriptor, even if this process is killed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence

from engine.errors import OperationFailed
from engine.image.layer import overlay
from engine.kernel import calls, detached_mounts, flags

_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def merged(lower: Sequence[str], upper: str = "", work: str = "") -> Iterator[int]:
    """Mount `lower` (directories, lowest first), with `upper` and `work` for writing. A single directory without
    `upper` needs no mount. Raises OperationFailed."""
    folders = list(reversed(lower))
    if not upper and len(folders) == 1:
        fd = _open(folders[0])
    elif upper and not folders:
        fd = _open(upper)
    else:
        fd = _mount(folders, upper, work)
    try:
        yield fd
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, _READ)
    except OSError as error:
        raise OperationFailed.of("open layer", path, error) from error


def _mount(folders: Sequence[str], upper: str, work: str) -> int:
    """`folders` highest first."""
    try:
        return _mount_detached(folders, upper, work)
    except OperationFailed as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        return _mount_in_thread(folders, upper, work)


@contextlib.contextmanager
def _named(folders: Sequence[str], upper: str, work: str) -> Iterator[tuple[list[str], list[tuple[str, str]]]]:
    """Name the directories by descriptor, because the length of options is limited, and names may contain commas and colons."""
    with contextlib.ExitStack() as stack:

        def name(path: str) -> str:
            try:
                fd = os.open(path, _PATH)
            except OSError as error:
                raise OperationFailed.of("open layer", path, error) from error
            stack.callback(os.close, fd)
            return f"/proc/self/fd/{fd}"

        lower = [name(folder) for folder in folders]
        yield lower, [("upperdir", name(upper)), ("workdir", name(work))] if upper else []


def _mount_detached(folders: Sequence[str], upper: str, work: str) -> int:
    """Mount with the new mount calls; `lowerdir+` needs Linux 6.5 (EINVAL before)."""
    context = detached_mounts.fsopen("overlay")
    try:
        with _named(folders, upper, work) as (lower, writable):
            detached_mounts.set_option(context, "source", "overlay")
            for option in overlay.features().split(","):
                with contextlib.suppress(OperationFailed):  # a kernel built without the feature
                    key, _, value = option.partition("=")
                    detached_mounts.set_option(context, key, value or None)
            for folder in lower:
                detached_mounts.set_option(context, "lowerdir+", folder)
            for key, folder in writable:
                detached_mounts.set_option(context, key, folder)
            mount = detached_mounts.fsmount(context)
    finally:
        os.close(context)
    try:
        return os.open(".", _READ, dir_fd=mount)
    finally:
        os.close(mount)


def _mount_in_thread(folders: Sequence[str], upper: str, work: str) -> int:
    """Mount with mount(2) over the first directory, in a mount namespace of a short-lived thread. The descriptor keeps the
    mount alive. The directories are opened in that namespace, because overlayfs accepts no others."""
    result: list[int | OperationFailed] = []

    def run() -> None:
        try:
            calls.unshare(flags.CLONE["mount"])
            calls.mount(None, "/", None, flags.MS["rec"] | flags.MS["private"])
            with _named(folders, upper, work) as (lower, writable):
                options = [f"lowerdir={':'.join(lower)}", *(f"{key}={folder}" for key, folder in writable)]
                options.append(overlay.features())
                calls.mount("overlay", folders[0], "overlay", 0, ",".join(options))
            result.append(_open(folders[0]))
        except OperationFailed as error:
            result.append(error)

    thread = threading.Thread(target=run, name="overlay")
    thread.start()
    thread.join()
    if isinstance(result[0], OperationFailed):
        raise result[0]
    return result[0]
