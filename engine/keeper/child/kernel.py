"""The interface of the steps to the kernel. It contains only types, and only type checkers import it.

    steps ──▶ Kernel ─┬─ direct.py               calls at once, in a fork of the keeper
                      └─ script/recorded.py      records calls, for a process that is not Python (script/run.c)

A step does not know which back end it has. A recording has no results to look at. So where a step catches an exception
of a call, or calls `levels`, it describes what a fork does at a point where a script would end. Descriptors are numbers
in both; in a recording they stand for the descriptors that its process will have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from engine.keeper.messages import Report
from engine.kernel import flags


class Kernel(Protocol):
    """Each method is the system call of the same name and raises OSError or OperationFailed, unless documented
    otherwise. All descriptors are close-on-exec."""

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, path: str, how: int) -> int: ...
    def open_within(self, folder: int, path: str, how: int, resolve: int) -> int:
        """openat2(2); magic links are never followed."""

    def open_or_make(self, root: int, path: str, how: int, make: Callable[[], None] | None) -> int:
        """Open a path inside `root`; call `make` first if it is missing."""

    def create(self, folder: int, name: str, mode: int, *, how: int = 0) -> int:
        """Open a new file for writing (O_EXCL)."""

    def write(self, fd: int, data: bytes) -> None: ...
    def close(self, fd: int) -> None: ...
    def copy_to(self, fd: int, number: int) -> None:
        """dup2(2): `number` stays open over execve(2)."""

    def wait_for_it(self, fd: int) -> None:
        """Clear O_NONBLOCK."""

    def close_range(self, first: int, last: int = ...) -> None: ...
    def mkdir(self, path: str, mode: int = ..., *, folder: int = flags.AT_FDCWD, present: bool = False) -> None:
        """`present`: whether it may already exist."""

    def try_mkdir(self, path: str) -> None:
        """Errors are ignored."""

    def mknod(self, folder: int, name: str, mode: int, device: int) -> None: ...
    def symlink(self, target: str, folder: int, name: str) -> None: ...
    def chown(self, folder: int, name: str, uid: int, gid: int) -> None:
        """Links are not followed."""

    def fchown(self, fd: int, uid: int, gid: int) -> None: ...
    def give(self, fd: int, uid: int, gid: int) -> None:
        """fchown(2), if permitted: the keeper of an ordinary user cannot change every owner."""

    def fchmod(self, fd: int, mode: int) -> None: ...
    def umask(self, mask: int) -> int: ...
    def chdir(self, path: str) -> None: ...
    def fchdir(self, fd: int) -> None: ...

    # ── mounts ───────────────────────────────────────────────────────────────────────────────────────────────────

    def mount(self, source: str | None, target: str, kind: str | None, bits: int, data: str | None = None) -> None: ...
    def umount(self, target: str) -> None:
        """Lazily (MNT_DETACH)."""

    def pivot_root(self, new: str, put_old: str) -> None: ...
    def filesystem(self, kind: str, source: str, options: str, attributes: Iterable[str]) -> int:
        """A new detached mount; see engine.kernel.detached_mounts."""

    def open_tree(self, folder: int, path: str, bits: int) -> int: ...
    def move_mount(self, tree: int, target: int) -> None:
        """Onto a descriptor."""

    def mount_setattr(
        self, tree: int, *, set_bits: int = 0, clear_bits: int = 0, propagation: int = 0, recursive: bool = False
    ) -> None: ...

    # ── namespaces, network ──────────────────────────────────────────────────────────────────────────────────────

    def unshare(self, bits: int) -> None: ...
    def setns(self, fd: int, kind: int, *, subject: str) -> None: ...
    def setsid(self) -> None: ...
    def join_session_keyring(self, name: str) -> None:
        """Does nothing on kernels without keyrings."""

    def sethostname(self, name: str) -> None: ...
    def setdomainname(self, name: str) -> None: ...
    def socket(self, kind: int) -> int:
        """For IPv4."""

    def setsockopt(self, sock: int, level: int, option: int, value: int) -> None: ...
    def bind(self, sock: int, address: str, port: int) -> None: ...
    def listen(self, sock: int, backlog: int) -> None: ...
    def ioctl(self, fd: int, request: int, argument: bytes) -> None: ...

    # ── privileges ──────────────────────────────────────────────────────────────────────────────────

    def prctl(self, option: int, *arguments: int) -> None: ...
    def setgroups(self, groups: tuple[int, ...]) -> None: ...
    def setresgid(self, real: int, effective: int, saved: int) -> None: ...
    def setresuid(self, real: int, effective: int, saved: int) -> None: ...
    def permitted(self) -> int:
        """Our permitted capabilities (capget(2))."""

    def capset(self, effective: int, permitted: int, inheritable: int) -> None: ...
    def seccomp(self, program: bytes) -> None: ...
    def reset_signals(self) -> None:
        """Reset all signals to their defaults, and unblock them."""

    def execute(
        self, paths: list[str], arguments: list[str], variables: dict[str, str], refused: Callable[[int], Exception]
    ) -> None:
        """execve(2) of the first path that exists. `refused` creates the error from the errno of the first failure; 0:
        no path exists."""

    # ── checks ──────────────────────────────────────────────────────────────────────

    def demand_filesystem(self, fd: int, magic: int, wrong: Callable[[], Exception], *, other: bool = False) -> None:
        """Fail unless the file system has this type (`other`: any other type)."""

    def demand_null(self, fd: int, wrong: Callable[[], Exception], *, path: str = "") -> None:
        """Fail unless this is the null device: the descriptor itself, or `path` below it, which is not opened."""

    def demand_inside(self, wrong: Callable[[], Exception]) -> None:
        """Fail if the working directory is outside our root."""

    def is_folder(self, fd: int, expected: bool) -> bool:
        """A recording assumes `expected`; its process fails if that is wrong."""

    def present(self, root: int, path: str) -> tuple[int, bool] | None:
        """A descriptor of a path in the kernel's own file systems, and whether it is a directory; None if it does not
        exist. Links are not followed. A recording looks at the host's."""

    def levels(self, path: str) -> int:
        """The most directories to create for a mount's target."""

    # ── the keeper ───────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: Report, descriptors: tuple[int, ...] = ()) -> None: ...
    def refused(self, meaning: Callable[[int], Exception]) -> AbstractContextManager[None]:
        """A context manager: the error to report for an errno of the calls inside."""
