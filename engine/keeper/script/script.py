"""Scripts: lists of system calls that the keeper records and a small process (run.c) carries out.

    keeper                                        the container's first process
      │  Script: operations, data (a memfd)          │
      │ ── spawn ───────────────────────────────────▶│  operations of BEGIN, one after the other
      │  more operations, `go_on`; a message         │
      │ ────────────────────────────────────────────▶│  those of PREPARE and ENTER
      │ ◀──────────── {"event": "sockets"/"ready"} ──│
      │  more operations, `go_on`; a message         │
      │ ────────────────────────────────────────────▶│  those of FINISH, the last of which is execve(2)

The steps are in engine/keeper/child/steps.py; recorded.py records them.

Forking the keeper, a Python process, costs more than everything that the child does: each page that it writes to is
copied, and execve(2) tears all of them down. A script has no control flow: an unexpected failure ends it, and a fork of
the keeper starts the container instead (engine/keeper/child/setup.py), which can do everything.
"""

from __future__ import annotations

import errno
import os
import struct

from engine.errors import OperationFailed

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT, CHANNEL = 3, 4
"""The descriptors of the script and of the stream to the keeper in the process."""
BASE = 0x200000000
"""The address at which the process maps the script; addresses in the script refer to it."""
_OPERATION = struct.Struct("=iHHhhI6q")
_NO_WORDS = (0, 0, 0, 0, 0, 0)
_HEAD = struct.Struct("=5Q")
_FIRST = 4096
"""Size in bytes of the part before the operations: head and registers; see run.c."""
_REGISTERS = 507
_ROOM = 64 * 1024
"""Space for operations, in bytes."""
_DATA = _FIRST + _ROOM
_PADDING = bytes(8)
LIMIT = 0x1000000
"""The size of the mapping, in bytes."""

STORE, EQUAL, DIFFER, GO_ON = -1, -2, -3, -4
ANY, END, NOTE, ABSENT = 1, 2, 4, 8
"""Flags of operations: ignore errors; treat a result of 0, or any success, as a failure; NOTE: continue, and remember
the first error."""
_SKIP = 8

REGISTER = 1 << 48
"""While a script is recorded, numbers from here on stand for its future descriptors and other results."""

_NAMES = (
    "read write close ioctl socket sendmsg bind listen setsockopt execve chdir fchdir mkdirat fchmod fchown umask setgroups "
    "setresuid setresgid capset pivot_root prctl mount umount2 sethostname setdomainname keyctl openat mknodat fchownat "
    "symlinkat unshare setns seccomp getcwd fcntl fstatfs setsid rt_sigaction rt_sigprocmask statx open_tree move_mount fsopen "
    "fsconfig fsmount close_range openat2 mount_setattr dup3"
).split()
_NUMBERS = {
    "x86_64": (
        0, 1, 3, 16, 41, 46, 49, 50, 54, 59, 80, 81, 258, 91, 93, 95, 116, 117, 119, 126, 155, 157, 165, 166, 170, 171, 250,
        257, 259, 260, 266, 272, 308, 317, 79, 72, 138, 112, 13, 14, 332, 428, 429, 430, 431, 432, 436, 437, 442, 292,
    ),
    "aarch64": (
        63, 64, 57, 29, 198, 211, 200, 201, 208, 221, 49, 50, 34, 52, 55, 166, 159, 147, 149, 91, 41, 167, 40, 39, 161, 162,
        219, 56, 33, 54, 36, 97, 268, 277, 17, 25, 44, 157, 134, 135, 291, 428, 429, 430, 431, 432, 436, 437, 442, 24,
    ),
}  # fmt: skip
_GIVES = {"openat", "openat2", "open_tree", "fsopen", "fsmount", "socket", "keyctl", "umask"}
_NUMBER = {name: (number, name in _GIVES) for name, number in zip(_NAMES, _NUMBERS[os.uname().machine], strict=True)}
"""Name → number on this machine (unistd.h), and whether its result is used by others."""


class Unscripted(Exception):
    """This container needs something that only a fork of the keeper can do."""


class Script:
    """Operations and their data in a memfd. Raises OSError if it cannot be created, Unscripted when it is full."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("script", os.MFD_CLOEXEC)
        self._operations, self._data = bytearray(_FIRST), bytearray()
        self._published = [0, 0]
        self._registers = 0
        self._refused: dict[int, Callable[[int], Exception]] = {}
        self._names: dict[int, str] = {}
        self._second = self._answer = self._milestone = 0
        self._pauses: list[int] = []
        self._known: dict[str | bytes, int] = {}
        self.meaning: Callable[[int], Exception] | None = None
        """The error to report for an errno of the operations that are being recorded."""

    def close(self) -> None:
        """Close the script; the process, if any, keeps its mapping."""
        # Break reference cycles explicitly, because garbage collection is rare in a keeper.
        for content in (self._operations, self._data, self._refused, self._names, self._known):
            content.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    # ── recording ──────────────────────────────────────────────────────────────────────────────────────────────────

    def data(self, content: bytes) -> int:
        """Store data; returns its address in the process."""
        data = self._data
        place = _DATA + len(data)
        if place + len(content) + 8 > LIMIT:
            raise Unscripted("it is too long")
        data += content + _PADDING[: -len(content) & 7]
        return BASE + place

    def text(self, text: str) -> int:
        """The same for a text, terminated by a zero byte."""
        if "\0" in text:
            raise Unscripted("a zero byte in a text")
        return self.data(os.fsencode(text) + b"\0")

    def _constant(self, content: str | bytes) -> int:
        """Store constant data once."""
        address = self._known[content] = self.text(content) if isinstance(content, str) else self.data(content)
        return address

    @property
    def answer(self) -> int:
        """A buffer of 256 bytes for the output of a system call, shared by all calls."""
        self._answer = self._answer or self.data(bytes(256))
        return self._answer

    def call(
        self,
        name: str,
        *arguments: int | bytes | str,
        allowed: tuple[int, int] = (0, 0),
        flags: int = 0,
        into: int = 0,
    ) -> int:
        """Append a system call; returns a number that stands for its result in later calls. Texts and bytes become
        pointers; texts end with a zero byte. `allowed`: errors that do not count as failures; `into`: an earlier result
        to overwrite."""
        number, gives = _NUMBER[name]
        if into:
            to = into - REGISTER
        elif gives:
            to = self._registers = self._registers + 1
            if to >= _REGISTERS:
                raise Unscripted("it is too long")
        else:
            to = 0
        place = self._operation(number, arguments, to, allowed, flags)
        if self._second:
            self._names[place] = name
            if self.meaning is not None:
                self._refused[place] = self.meaning
        return REGISTER + to

    def _operation(
        self,
        number: int,
        arguments: tuple[int | bytes | str, ...],
        to: int = 0,
        allowed: tuple[int, int] = (0, 0),
        flags: int = 0,
    ) -> int:
        operations = self._operations
        place = len(operations)
        if place + _OPERATION.size > _DATA:
            raise Unscripted("it is too long")
        words: list[int] = []
        registers = 0
        for argument in arguments:
            if isinstance(argument, int):
                if argument >= REGISTER:
                    argument -= REGISTER
                    registers |= 1 << len(words)
                words.append(argument)
            else:
                words.append(self._known.get(argument) or self._constant(argument))
        operations += _OPERATION.pack(number, to, registers, *allowed, flags, *words, *_NO_WORDS[len(words) :])
        return place

    def optional(self, place: int) -> None:
        """Let the operation recorded at the mark `place` skip all later ones so far if it succeeds."""
        skipped = (self.mark - place) // _OPERATION.size - 1
        (flags,) = struct.unpack_from("=I", self._operations, place + 12)
        struct.pack_into("=I", self._operations, place + 12, flags | skipped << _SKIP)

    @property
    def mark(self) -> int:
        """The position of the next operation."""
        return len(self._operations)

    def store(self, address: int, value: int) -> None:
        """Store a result, 4 bytes, at an address of `data`."""
        self._operation(STORE, (address, value))

    def milestone(self) -> None:
        """Record this point, so that `passed` can tell whether the process has reached it."""
        self._milestone = self.data(bytes(8))
        self.store(self._milestone, 1)

    def demand(
        self,
        address: int,
        mask: int,
        value: int,
        *,
        equal: bool = True,
        refused: Callable[[int], Exception] | None = None,
    ) -> None:
        """Fail unless the 8 bytes at the address, masked, equal `value` (with `equal` False: if they do). `refused`
        receives the first error of the operations with NOTE, 0 for none."""
        place = self._operation(EQUAL if equal else DIFFER, (address, mask, value))
        if refused is not None:
            self._refused[place] = lambda _: refused(self._head()[3])

    def pause(self, descriptor: int) -> None:
        """Wait for a message, then continue with the operations recorded after this, if `go_on` was called. At the end
        of the stream the process exits."""
        buffer = self.data(bytes(64))
        self.call("read", descriptor, buffer, 64, flags=END)
        self._operation(GO_ON, ())
        self._second = self.mark
        self._pauses.append(self.mark)

    # ── publishing ─────────────────────────────────────────────────────────────────────────────────

    def publish(self) -> None:
        """Write the new operations to the memfd, where the process sees them. Raises OSError when memory is short; with
        a mapping of our own, that would be SIGBUS, which would kill the keeper."""
        for index, (start, content) in enumerate(((0, self._operations), (_DATA, self._data))):
            known = self._published[index]
            self._put(content[known:], start + known)
            self._published[index] = len(content)

    def go_on(self) -> None:
        """Publish the operations after the pause, so that the process can continue when it gets a message. Raises as
        `publish`."""
        self.publish()
        self._put(struct.pack("=Q", BASE + self._pauses.pop(0)), 0)

    def _put(self, content: bytes | bytearray, place: int) -> None:
        if os.pwrite(self.fd, content, place) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # ── results ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def broken(self) -> bool:
        """For a process that has exited: whether an operation before the last pause failed, or the script never
        began."""
        failed, _ = self._failed()
        return failed < self._second if failed else not self._head()[4]

    @property
    def passed(self) -> bool:
        """Whether the process has reached the milestone."""
        return self._milestone > 0 and os.pread(self.fd, 1, self._milestone - BASE) == b"\1"

    def failure(self) -> Exception | None:
        """The error of the operation that failed after the last pause."""
        failed, number = self._failed()
        if not failed:
            return None
        if failed in self._refused:
            return self._refused[failed](number)
        return OperationFailed(
            self._names.get(failed, "start"), "the container's process", number, detail=os.strerror(number)
        )

    def _failed(self) -> tuple[int, int]:
        _, failed, number, *_ = self._head()
        return (failed - BASE if failed else 0), number

    def _head(self) -> tuple[int, ...]:
        """next, failed, error, noted, begun: see run.c."""
        return _HEAD.unpack(os.pread(self.fd, _HEAD.size, 0))
