"""What the steps of a start ask of the kernel. Types only, loaded by type checkers alone.

    steps ──▶ Kernel ─┬─ direct.py               at once, in a fork of the keeper
                      └─ script/recorded.py      written down, for a process that is not Python (script/run.c)

A step does not know which of the two it has. What only the first can do is what a step does after it has seen something: a
recording sees nothing. So a step that catches an exception of a call, or asks `levels`, describes what a fork does where a script
ends. Descriptors are numbers for either: while a script is recorded, they stand for what its process will have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from engine.keeper.messages import Report
from engine.kernel import flags


class Kernel(Protocol):
    """Each method is the system call of its name and raises OSError or OperationFailed, unless it says otherwise. All
    descriptors are close-on-exec."""

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, path: str, how: int) -> int: ...
    def open_within(self, folder: int, path: str, how: int, resolve: int) -> int:
        """openat2(2); magic links are never followed."""

    def open_or_make(self, root: int, path: str, how: int, make: Callable[[], None] | None) -> int:
        """Open what is inside `root`; where it is missing, `make` is called first."""

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
        """`present`: it may be there."""

    def try_mkdir(self, path: str) -> None:
        """Nothing when it cannot be made."""

    def mknod(self, folder: int, name: str, mode: int, device: int) -> None: ...
    def symlink(self, target: str, folder: int, name: str) -> None: ...
    def chown(self, folder: int, name: str, uid: int, gid: int) -> None:
        """Links are not followed."""

    def fchown(self, fd: int, uid: int, gid: int) -> None: ...
    def give(self, fd: int, uid: int, gid: int) -> None:
        """fchown(2), where we may: an ordinary user's keeper may not give everything away."""

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
        """A new mount that is nowhere yet; see engine.kernel.detached."""

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
        """Nothing where the kernel has no keys."""

    def sethostname(self, name: str) -> None: ...
    def setdomainname(self, name: str) -> None: ...
    def socket(self, kind: int) -> int:
        """For IPv4."""

    def setsockopt(self, sock: int, level: int, option: int, value: int) -> None: ...
    def bind(self, sock: int, address: str, port: int) -> None: ...
    def listen(self, sock: int, backlog: int) -> None: ...
    def ioctl(self, fd: int, request: int, argument: bytes) -> None: ...

    # ── what the program may do ──────────────────────────────────────────────────────────────────────────────────

    def prctl(self, option: int, *arguments: int) -> None: ...
    def setgroups(self, groups: tuple[int, ...]) -> None: ...
    def setresgid(self, real: int, effective: int, saved: int) -> None: ...
    def setresuid(self, real: int, effective: int, saved: int) -> None: ...
    def permitted(self) -> int:
        """Our permitted capabilities (capget(2))."""

    def capset(self, effective: int, permitted: int, inheritable: int) -> None: ...
    def seccomp(self, program: bytes) -> None: ...
    def reset_signals(self) -> None:
        """None is ignored, caught or blocked any more."""

    def execute(
        self, paths: list[str], arguments: list[str], variables: dict[str, str], refused: Callable[[int], Exception]
    ) -> None:
        """execve(2) of the first path that is there. `refused` makes the error from the errno of the first that could not be
        executed; 0: none is there."""

    # ── what has to hold, and what is there ──────────────────────────────────────────────────────────────────────

    def demand_filesystem(self, fd: int, magic: int, wrong: Callable[[], Exception], *, other: bool = False) -> None:
        """Fail unless the file system is of this type (`other`: of any but this)."""

    def demand_null(self, fd: int, wrong: Callable[[], Exception], *, path: str = "") -> None:
        """Fail unless it is the null device: an open one, or without opening it the `path` below the descriptor."""

    def demand_inside(self, wrong: Callable[[], Exception]) -> None:
        """Fail when the working directory is outside our root."""

    def is_folder(self, fd: int, expected: bool) -> bool:
        """A recording believes what is expected: should it be wrong, its process fails."""

    def present(self, root: int, path: str) -> tuple[int, bool] | None:
        """What is at a path of the kernel's own file systems, open, and whether it is a directory; None for nothing. No link is
        followed. A recording looks at the host's."""

    def levels(self, path: str) -> int:
        """How many directories at most may have to be made for a mount's target."""

    # ── the keeper ───────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: Report, descriptors: tuple[int, ...] = ()) -> None: ...
    def refused(self, meaning: Callable[[int], Exception]) -> AbstractContextManager[None]:
        """What an error (its errno) of the calls inside means to the reader."""
