"""The recording back end of child/kernel.py: it writes the calls of a start into a script, for a process that is not
Python. A call that fails ends the process, unless noted otherwise; then a fork of the keeper starts the container.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import signal
import socket
import stat
import struct

from engine.keeper.child.direct import LEVELS
from engine.keeper.protocol import framed
from engine.keeper.script.recording import ABSENT, ANY, NOTE, Recording, Unscripted
from engine.keeper.script.script import CHANNEL, SCRIPT
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engine.keeper.messages import Report

_INSIDE = flags.RESOLVE_IN_ROOT
_NO_FOLLOW = 0x100
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_MOVE = flags.MOVE_MOUNT_F_EMPTY_PATH | flags.MOVE_MOUNT_T_EMPTY_PATH
_JOIN_SESSION, _SET_PERMISSIONS, _PERMISSIONS = 1, 5, 0x3F1B0000
_SCM_RIGHTS = 1
_SET_MODE_FILTER = 1
_SET_MASK = 2
_EVERY = 0xFFFFFFFF
_NEAR = frozenset(
    "/proc /sys /dev /dev/pts /dev/shm /dev/mqueue /sys/fs/cgroup /etc/hosts /etc/hostname /etc/resolv.conf".split()
)
"""Targets that exist in every container's lowest layer, or directly below a new mount of ours."""


class Recorded:
    """A Kernel (child/kernel.py). The descriptors that it returns stand for those that the process will have."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._call = recording.call

    def take_descriptors(self) -> None:
        """Close the script and make the channel close-on-exec, once the process has mapped its script."""
        self._call("fcntl", CHANNEL, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        self._call("close", SCRIPT)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, path: str, how: int) -> int:
        return self._call("openat", flags.AT_FDCWD, path, how | os.O_CLOEXEC, 0)

    def open_within(self, folder: int, path: str, how: int, resolve: int) -> int:
        return self._openat2(folder, path, how, resolve)

    def open_or_make(self, root: int, path: str, how: int, make: Callable[[], None] | None) -> int:
        if make is None:
            return self._openat2(root, path, how, _INSIDE)
        mark = self._recording.mark
        found = self._openat2(root, path, how, _INSIDE, allowed=(errno.ENOENT, 0))
        make()
        self._openat2(root, path, how, _INSIDE, into=found)
        self._recording.optional(mark)
        return found

    def _openat2(
        self,
        folder: int,
        path: str,
        how: int,
        resolve: int,
        *,
        into: int = 0,
        allowed: tuple[int, int] = (0, 0),
        outcome: int = 0,
    ) -> int:
        request = struct.pack("=QQQ", how | os.O_CLOEXEC, 0, resolve | flags.RESOLVE_NO_MAGICLINKS)
        return self._call("openat2", folder, path, request, 24, into=into, allowed=allowed, flags=outcome)

    def create(self, folder: int, name: str, mode: int, *, how: int = 0) -> int:
        bits = os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC
        return self._call("openat", folder, name, bits | how, mode)

    def write(self, fd: int, data: bytes) -> None:
        self._call("write", fd, data, len(data))

    def close(self, fd: int) -> None:
        self._call("close", fd)

    def copy_to(self, fd: int, number: int) -> None:
        self._call("dup3", fd, number, 0)

    def wait_for_it(self, fd: int) -> None:
        self._call("fcntl", fd, fcntl.F_SETFL, os.O_RDWR)

    def close_range(self, first: int, last: int = _EVERY) -> None:
        self._call("close_range", first, last, 0)

    def mkdir(self, path: str, mode: int = 0o777, *, folder: int = flags.AT_FDCWD, present: bool = False) -> None:
        self._call("mkdirat", folder, path, mode, allowed=(errno.EEXIST if present else 0, 0))

    def try_mkdir(self, path: str) -> None:
        self._call("mkdirat", flags.AT_FDCWD, path, 0o777, flags=ANY)

    def mknod(self, folder: int, name: str, mode: int, device: int) -> None:
        if device >> 32:
            raise Unscripted("a large number of a device")
        self._call("mknodat", folder, name, mode, device)

    def symlink(self, target: str, folder: int, name: str) -> None:
        self._call("symlinkat", target, folder, name)

    def chown(self, folder: int, name: str, uid: int, gid: int) -> None:
        self._call("fchownat", folder, name, *_owner(uid, gid), _NO_FOLLOW)

    def fchown(self, fd: int, uid: int, gid: int) -> None:
        self._call("fchown", fd, *_owner(uid, gid))

    def give(self, fd: int, uid: int, gid: int) -> None:
        self._call("fchown", fd, uid, gid, allowed=(errno.EPERM, 0))

    def fchmod(self, fd: int, mode: int) -> None:
        self._call("fchmod", fd, mode)

    def umask(self, mask: int) -> int:
        return self._call("umask", mask)

    def chdir(self, path: str) -> None:
        self._call("chdir", path)

    def fchdir(self, fd: int) -> None:
        self._call("fchdir", fd)

    # ── mounts ───────────────────────────────────────────────────────────────────────────────────────────────────

    def mount(self, source: str | None, target: str, kind: str | None, bits: int, data: str | None = None) -> None:
        self._call("mount", source or 0, target, kind or 0, bits, data or 0)

    def umount(self, target: str) -> None:
        self._call("umount2", target, flags.MNT_DETACH)

    def pivot_root(self, new: str, put_old: str) -> None:
        self._call("pivot_root", new, put_old)

    def filesystem(self, kind: str, source: str, options: str, attributes: Iterable[str]) -> int:
        call = self._call
        context = call("fsopen", kind, 1)
        call("fsconfig", context, _SET_STRING, "source", source or kind, 0)
        for option in filter(None, options.split(",")):
            key, equals, value = option.partition("=")
            call("fsconfig", context, _SET_STRING if equals else _SET_FLAG, key, value if equals else 0, 0)
        call("fsconfig", context, _CREATE, 0, 0, 0)
        tree = call("fsmount", context, 1, sum(flags.MOUNT_ATTR.get(name, 0) for name in attributes))
        call("close", context)
        return tree

    def open_tree(self, folder: int, path: str, bits: int) -> int:
        return self._call("open_tree", folder, path, bits | flags.OPEN_TREE_CLOEXEC)

    def move_mount(self, tree: int, target: int) -> None:
        self._call("move_mount", tree, "", target, "", _MOVE)

    def mount_setattr(
        self, tree: int, *, set_bits: int = 0, clear_bits: int = 0, propagation: int = 0, recursive: bool = False
    ) -> None:
        arguments = struct.pack("=QQQQ", set_bits, clear_bits, propagation, 0)
        bits = flags.AT_EMPTY_PATH | (flags.AT_RECURSIVE if recursive else 0)
        self._call("mount_setattr", tree, "", bits, arguments, 32)

    # ── namespaces, network ──────────────────────────────────────────────────────────────────────────────────────

    def unshare(self, bits: int) -> None:
        self._call("unshare", bits)

    def setns(self, fd: int, kind: int, *, subject: str) -> None:
        del subject
        self._call("setns", fd, kind)

    def setsid(self) -> None:
        self._call("setsid")

    def join_session_keyring(self, name: str) -> None:
        ring = self._call("keyctl", _JOIN_SESSION, name, flags=ANY)
        self._call("keyctl", _SET_PERMISSIONS, ring, _PERMISSIONS, flags=ANY)

    def sethostname(self, name: str) -> None:
        data = os.fsencode(name)
        self._call("sethostname", data, len(data))

    def setdomainname(self, name: str) -> None:
        data = os.fsencode(name)
        self._call("setdomainname", data, len(data))

    def socket(self, kind: int) -> int:
        return self._call("socket", socket.AF_INET, kind | socket.SOCK_CLOEXEC, 0)

    def setsockopt(self, sock: int, level: int, option: int, value: int) -> None:
        self._call("setsockopt", sock, level, option, struct.pack("=i", value), 4)

    def bind(self, sock: int, address: str, port: int) -> None:
        packed = struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(address) + bytes(8)
        self._call("bind", sock, packed, len(packed))

    def listen(self, sock: int, backlog: int) -> None:
        self._call("listen", sock, backlog)

    def ioctl(self, fd: int, request: int, argument: bytes) -> None:
        self._call("ioctl", fd, request, argument)

    # ── privileges ──────────────────────────────────────────────────────────────────────────────────

    def prctl(self, option: int, *arguments: int) -> None:
        self._call("prctl", option, *arguments)

    def setgroups(self, groups: tuple[int, ...]) -> None:
        self._call("setgroups", len(groups), struct.pack(f"={len(groups)}I", *groups))

    def setresgid(self, real: int, effective: int, saved: int) -> None:
        self._call("setresgid", real, effective, saved)

    def setresuid(self, real: int, effective: int, saved: int) -> None:
        self._call("setresuid", real, effective, saved)

    def permitted(self) -> int:
        return calls.capget()  # the process inherits ours

    def capset(self, effective: int, permitted: int, inheritable: int) -> None:
        self._call("capset", *calls.capability_words(effective, permitted, inheritable))

    def seccomp(self, program: bytes) -> None:
        described = struct.pack("=HxxxxxxQ", len(program) // 8, self._recording.data(program))
        self._call("seccomp", _SET_MODE_FILTER, 0, described)

    def reset_signals(self) -> None:
        """After execve(2) the process catches no signals, and ignores those that a keeper ignores."""
        for number in _ignored():
            self._call("rt_sigaction", number, bytes(32), 0, 8)
        self._call("rt_sigprocmask", _SET_MASK, bytes(8), 0, 8)

    def execute(
        self, paths: list[str], arguments: list[str], variables: dict[str, str], refused: Callable[[int], Exception]
    ) -> None:
        words = self._pointers(arguments)
        environment = self._pointers([f"{name}={value}" for name, value in variables.items()])
        self._recording.milestone()
        for path in paths:
            self._call("execve", path, words, environment, allowed=(errno.ENOENT, errno.ENOTDIR), flags=NOTE)
        self._recording.demand(words, 0, 1, refused=refused)

    def _pointers(self, texts: list[str]) -> int:
        return self._recording.data(struct.pack(f"={len(texts) + 1}Q", *map(self._recording.text, texts), 0))

    # ── checks ──────────────────────────────────────────────────────────────────────

    def demand_filesystem(self, fd: int, magic: int, wrong: Callable[[], Exception], *, other: bool = False) -> None:
        found = self._recording.answer
        self._call("fstatfs", fd, found)
        self._recording.demand(found, -1, magic, equal=not other, refused=lambda _: wrong())

    def demand_null(self, fd: int, wrong: Callable[[], Exception], *, path: str = "") -> None:
        found = self._recording.answer
        how = flags.AT_EMPTY_PATH if not path else _NO_FOLLOW
        self._call("statx", fd, path, how, 0x7FF, found)
        # struct statx: stx_gid and stx_mode; stx_rdev_major and stx_rdev_minor
        self._recording.demand(found + 24, 0o170000 << 32, stat.S_IFCHR << 32, refused=lambda _: wrong())
        self._recording.demand(found + 128, -1, 1 | 3 << 32, refused=lambda _: wrong())

    def demand_inside(self, wrong: Callable[[], Exception]) -> None:
        where = self._recording.data(bytes(4096))
        self._call("getcwd", where, 4096)
        # "(unreachable)": a leaked host directory, CVE-2024-21626
        self._recording.demand(where, 0xFF, ord("/"), refused=lambda _: wrong())

    def is_folder(self, fd: int, expected: bool) -> bool:
        del fd
        return expected

    def present(self, root: int, path: str) -> tuple[int, bool] | None:
        """The container's /proc and /sys have the same files as the host's; if they differ, the process exits."""
        resolve = _INSIDE | flags.RESOLVE_NO_SYMLINKS
        kind = _kind(path)
        if kind:
            return self._openat2(root, path, flags.O_PATH, resolve), stat.S_ISDIR(kind)
        self._openat2(root, path, flags.O_PATH, resolve, allowed=(errno.ENOENT, errno.ENOTDIR), outcome=ABSENT)
        return None

    def levels(self, path: str) -> int:
        return 1 if path in _NEAR or path.startswith("/sys/fs/cgroup/") else LEVELS

    # ── the keeper ───────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: Report, descriptors: tuple[int, ...] = ()) -> None:
        recording = self._recording
        frame = framed(message, descriptors)
        vector = recording.data(struct.pack("=QQ", recording.data(frame), len(frame)))
        control = size = 0
        if descriptors:
            length = 16 + 4 * len(descriptors)
            size = (length + 7) & ~7
            control = recording.data(struct.pack("=Qii", length, socket.SOL_SOCKET, _SCM_RIGHTS) + bytes(size - 16))
            for number, descriptor in enumerate(descriptors):
                recording.store(control + 16 + 4 * number, descriptor)
        self._call("sendmsg", CHANNEL, struct.pack("=QQQQQQQ", 0, 0, vector, 1, control, size, 0), socket.MSG_NOSIGNAL)

    def refused(self, meaning: Callable[[int], Exception]) -> _Meaning:
        return _Meaning(self._recording, meaning)


class _Meaning:
    """A context manager: the error to report for a failed operation inside."""

    def __init__(self, recording: Recording, meaning: Callable[[int], Exception]) -> None:
        self._recording, self._meaning = recording, meaning

    def __enter__(self) -> None:
        self._recording.meaning = self._meaning

    def __exit__(self, *error: object) -> None:
        self._recording.meaning = None


def _owner(uid: int, gid: int) -> tuple[int, int]:
    """Ids as 32-bit numbers for the kernel; all 32 bits set would mean "unchanged", so such an id is refused."""
    if not 0 <= min(uid, gid) <= max(uid, gid) < 0xFFFFFFFF:
        raise Unscripted("an id that is none")
    return uid, gid


@functools.cache
def _ignored() -> list[int]:
    """The signals that a keeper ignores from its start."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]


@functools.cache
def _kind(path: str) -> int:
    """The file type at a path on the host, 0 if it does not exist. If it changes later, scripts fail and forks take
    over."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0
