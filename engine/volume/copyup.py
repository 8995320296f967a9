"""What an image has at a mount point is copied into the empty volume that is first mounted there (Docker's copy-up)."""

from __future__ import annotations

import os
import stat

from engine.errors import OperationFailed
from engine.kernel import calls, flags


def copy_up(layers: list[str], path: str, target: str) -> None:
    """Fill the empty folder `target` with what the layers (lowest first) show at `path`; nothing when it is not empty.

    Each layer is walked by descriptors that symbolic links of the image cannot lead out of.
    """
    with os.scandir(target) as entries:
        if any(entries):
            return
    out = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for layer in layers:
            root = os.open(layer, flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                source = calls.openat2(root, path, os.O_RDONLY | os.O_DIRECTORY)
            except OperationFailed:
                if _whiteout(root, path):
                    _clear(out)
                continue
            finally:
                os.close(root)
            try:
                if _opaque(source):
                    _clear(out)
                _copy_folder(source, out)
            finally:
                os.close(source)
    except OSError as error:
        raise OperationFailed.of("copy the image's files to", target, error) from error
    finally:
        os.close(out)


def _whiteout(root: int, path: str) -> bool:
    try:
        fd = calls.openat2(root, path, flags.O_PATH | os.O_NOFOLLOW)
    except OperationFailed:
        return False
    status = os.fstat(fd)
    os.close(fd)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _opaque(folder: int) -> bool:
    try:
        return os.getxattr(folder, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _clear(folder: int) -> None:
    for name in os.listdir(folder):
        _remove(folder, name)


def _remove(folder: int, name: str) -> None:
    if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        _clear(inner)
        os.close(inner)
        os.rmdir(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)


def _copy_folder(source: int, target: int) -> None:
    """Copy entries of one directory onto another, ours replacing what is there; owner and mode of the folder too."""
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listdir(source):
        status = os.lstat(name, dir_fd=source)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            try:
                os.mkdir(name, 0o700, dir_fd=target)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(name, dir_fd=target).st_mode):
                    os.unlink(name, dir_fd=target)
                    os.mkdir(name, 0o700, dir_fd=target)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
            outer = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
            try:
                if _opaque(inner):
                    _clear(outer)
                _copy_folder(inner, outer)
            finally:
                os.close(inner)
                os.close(outer)
            continue
        try:
            _remove(target, name)
        except FileNotFoundError:
            pass
        if stat.S_ISCHR(mode) and status.st_rdev == 0:
            continue  # a whiteout: the entry is gone
        if stat.S_ISREG(mode):
            _copy_file(source, target, name)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            os.mknod(name, mode, status.st_rdev, dir_fd=target)
        else:
            continue  # a socket is nothing without its listener
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            os.chmod(name, stat.S_IMODE(mode), dir_fd=target)
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _copy_file(source: int, target: int, name: str) -> None:
    reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while os.copy_file_range(reading, writing, 1 << 30):
                pass
            for attribute in os.listxattr(reading):
                if attribute.startswith(("user.", "security.capability")):
                    os.setxattr(writing, attribute, os.getxattr(reading, attribute))
        finally:
            os.close(writing)
    finally:
        os.close(reading)
