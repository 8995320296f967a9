"""The direct back end of kernel.py: each call is made at once, by the process itself, which can look at results."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import stat

from engine.errors import OperationFailed
from engine.kernel import calls, detached_mounts, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.keeper.messages import Report
    from engine.keeper.protocol import Channel

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
LEVELS = 40
"""The most directories created, and links followed, for one target (as with ELOOP)."""


class Direct:
    """`channel` is the stream to the keeper; `send` needs it."""

    def __init__(self, channel: Channel | None = None) -> None:
        self.channel = channel

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, path: str, how: int) -> int:
        return os.open(path, how | os.O_CLOEXEC)

    def open_within(self, folder: int, path: str, how: int, resolve: int) -> int:
        return calls.openat2(folder, path, how, resolve=resolve)

    def open_or_make(self, root: int, path: str, how: int, make: Callable[[], None] | None) -> int:
        try:
            return calls.openat2(root, path, how)
        except OperationFailed as error:
            if error.errno != errno.ENOENT or make is None:
                raise
        make()
        return calls.openat2(root, path, how)

    def create(self, folder: int, name: str, mode: int, *, how: int = 0) -> int:
        bits = os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC
        return os.open(name, bits | how, mode, dir_fd=None if folder == flags.AT_FDCWD else folder)

    def write(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    close = staticmethod(os.close)
    close_range = staticmethod(calls.close_range)

    def copy_to(self, fd: int, number: int) -> None:
        os.dup2(fd, number)

    def wait_for_it(self, fd: int) -> None:
        os.set_blocking(fd, True)

    def mkdir(self, path: str, mode: int = 0o777, *, folder: int = flags.AT_FDCWD, present: bool = False) -> None:
        with contextlib.suppress(*((FileExistsError,) if present else ())):
            os.mkdir(path, mode, dir_fd=None if folder == flags.AT_FDCWD else folder)

    def try_mkdir(self, path: str) -> None:
        with contextlib.suppress(OSError):
            os.mkdir(path)

    def mknod(self, folder: int, name: str, mode: int, device: int) -> None:
        os.mknod(name, mode, device, dir_fd=folder)

    def symlink(self, target: str, folder: int, name: str) -> None:
        os.symlink(target, name, dir_fd=folder)

    def chown(self, folder: int, name: str, uid: int, gid: int) -> None:
        os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)

    fchown = staticmethod(os.fchown)

    def give(self, fd: int, uid: int, gid: int) -> None:
        with contextlib.suppress(PermissionError):
            os.fchown(fd, uid, gid)

    fchmod = staticmethod(os.fchmod)
    umask = staticmethod(os.umask)
    chdir = staticmethod(os.chdir)
    fchdir = staticmethod(os.fchdir)

    # ── mounts ───────────────────────────────────────────────────────────────────────────────────────────────────

    mount = staticmethod(calls.mount)
    pivot_root = staticmethod(calls.pivot_root)
    filesystem = staticmethod(detached_mounts.filesystem)
    open_tree = staticmethod(calls.open_tree)
    move_mount = staticmethod(calls.move_mount)
    mount_setattr = staticmethod(calls.mount_setattr)

    def umount(self, target: str) -> None:
        calls.umount(target)

    # ── namespaces, network ──────────────────────────────────────────────────────────────────────────────────────

    unshare = staticmethod(calls.unshare)
    setns = staticmethod(calls.setns)
    setsid = staticmethod(os.setsid)
    join_session_keyring = staticmethod(calls.join_session_keyring)
    sethostname = staticmethod(calls.sethostname)
    setdomainname = staticmethod(calls.setdomainname)

    def socket(self, kind: int) -> int:
        return socket.socket(socket.AF_INET, kind).detach()

    def setsockopt(self, sock: int, level: int, option: int, value: int) -> None:
        with _as_socket(sock) as it:
            it.setsockopt(level, option, value)

    def bind(self, sock: int, address: str, port: int) -> None:
        with _as_socket(sock) as it:
            it.bind((address, port))

    def listen(self, sock: int, backlog: int) -> None:
        with _as_socket(sock) as it:
            it.listen(backlog)

    def ioctl(self, fd: int, request: int, argument: bytes) -> None:
        fcntl.ioctl(fd, request, argument)

    # ── privileges ──────────────────────────────────────────────────────────────────────────────────

    def prctl(self, option: int, *arguments: int) -> None:
        calls.prctl(option, *arguments)

    setgroups = staticmethod(os.setgroups)
    setresgid = staticmethod(os.setresgid)
    setresuid = staticmethod(os.setresuid)
    permitted = staticmethod(calls.capget)
    capset = staticmethod(calls.capset)
    seccomp = staticmethod(calls.seccomp)

    def reset_signals(self) -> None:
        """Undo signal settings of the keeper, and of the process that started it (nohup, a shell's `&`)."""
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def execute(
        self, paths: list[str], arguments: list[str], variables: dict[str, str], refused: Callable[[int], Exception]
    ) -> None:
        first = 0
        for path in paths:
            try:
                os.execve(path, arguments, variables)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                first = first or error.errno or 0
        raise refused(first)

    # ── checks ──────────────────────────────────────────────────────────────────────

    def demand_filesystem(self, fd: int, magic: int, wrong: Callable[[], Exception], *, other: bool = False) -> None:
        if (calls.filesystem_type(fd) == magic) is other:
            raise wrong()

    def demand_null(self, fd: int, wrong: Callable[[], Exception], *, path: str = "") -> None:
        found = (
            os.stat(path, dir_fd=None if os.path.isabs(path) else fd, follow_symlinks=False) if path else os.fstat(fd)
        )
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != flags.NULL_DEVICE:
            raise wrong()

    def demand_inside(self, wrong: Callable[[], Exception]) -> None:
        if not os.getcwd().startswith("/"):  # "(unreachable)": a leaked host directory, CVE-2024-21626
            raise wrong()

    def is_folder(self, fd: int, expected: bool) -> bool:
        del expected
        return stat.S_ISDIR(os.fstat(fd).st_mode)

    def present(self, root: int, path: str) -> tuple[int, bool] | None:
        try:
            found = calls.openat2(root, path, flags.O_PATH, resolve=flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_SYMLINKS)
        except OperationFailed as error:
            if error.errno in _ABSENT:
                return None
            raise
        return found, stat.S_ISDIR(os.fstat(found).st_mode)

    def levels(self, path: str) -> int:
        del path
        return LEVELS

    # ── the keeper ───────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: Report, descriptors: tuple[int, ...] = ()) -> None:
        assert self.channel is not None
        self.channel.send(message, descriptors)

    @contextlib.contextmanager
    def refused(self, meaning: Callable[[int], Exception]) -> Iterator[None]:
        try:
            yield
        except OperationFailed as error:
            raise meaning(error.errno) from error
        except OSError as error:
            raise meaning(error.errno or 0) from error


@contextlib.contextmanager
def _as_socket(fd: int) -> Iterator[socket.socket]:
    it = socket.socket(fileno=fd)
    try:
        yield it
    finally:
        it.detach()
