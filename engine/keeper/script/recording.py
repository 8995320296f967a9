"""Recordings: what a script (script.py) will contain, operations and their data, as the keeper writes them down."""

from __future__ import annotations

import os
import struct

from engine.errors import OperationFailed

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable

BASE = 0x200000000
"""The address at which the process maps the script; addresses in the script refer to it."""
_OPERATION = struct.Struct("=iHHhhI6q")
_NO_WORDS = (0, 0, 0, 0, 0, 0)
_FIRST = 4096
"""Size in bytes of the part before the operations: head and registers; see run.c."""
_REGISTERS = 507
_ROOM = 64 * 1024
"""Space for operations, in bytes."""
DATA = _FIRST + _ROOM
"""Where the data begin."""
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


class Recording:
    """Its methods raise Unscripted when the recording is full."""

    def __init__(self) -> None:
        self.operations, self.contents = bytearray(_FIRST), bytearray()
        self.paused = self.reached = 0
        """The place of the first operation after the pause; the address of the milestone's mark. 0: there is none."""
        self.meaning: Callable[[int], Exception] | None = None
        """The error to report for an errno of the operations that are being recorded."""
        self._registers = self._answer = 0
        self._refused: dict[int, Callable[[int, int], Exception]] = {}
        self._names: dict[int, str] = {}
        self._known: dict[str | bytes, int] = {}

    def copy(self) -> Recording:
        """An equal recording, to be continued in another way."""
        other = Recording()
        other.operations, other.contents = self.operations[:], self.contents[:]
        other.paused, other.reached = self.paused, self.reached
        other._registers, other._answer = self._registers, self._answer
        other._refused, other._names, other._known = dict(self._refused), dict(self._names), dict(self._known)
        return other

    def data(self, content: bytes) -> int:
        """Store data; returns its address in the process."""
        contents = self.contents
        place = DATA + len(contents)
        if place + len(content) + 8 > LIMIT:
            raise Unscripted("it is too long")
        contents += content + _PADDING[: -len(content) & 7]
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
        if self.paused:
            self._names[place] = name
            if (meaning := self.meaning) is not None:
                self._refused[place] = lambda number, _: meaning(number)
        return REGISTER + to

    def _operation(
        self,
        number: int,
        arguments: tuple[int | bytes | str, ...],
        to: int = 0,
        allowed: tuple[int, int] = (0, 0),
        flags: int = 0,
    ) -> int:
        operations = self.operations
        place = len(operations)
        if place + _OPERATION.size > DATA:
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
        (flags,) = struct.unpack_from("=I", self.operations, place + 12)
        struct.pack_into("=I", self.operations, place + 12, flags | skipped << _SKIP)

    @property
    def mark(self) -> int:
        """The position of the next operation."""
        return len(self.operations)

    def store(self, address: int, value: int) -> None:
        """Store a result, 4 bytes, at an address of `data`."""
        self._operation(STORE, (address, value))

    def milestone(self) -> None:
        """Record this point, so that the keeper can tell whether the process has reached it."""
        self.reached = self.data(bytes(8))
        self.store(self.reached, 1)

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
            self._refused[place] = lambda _, noted: refused(noted)

    def pause(self, descriptor: int) -> None:
        """Wait for a message, then continue with the operations recorded after this, once they are published. At the end
        of the stream the process exits."""
        buffer = self.data(bytes(64))
        self.call("read", descriptor, buffer, 64, flags=END)
        self._operation(GO_ON, ())
        self.paused = self.mark

    def error(self, failed: int, number: int, noted: int) -> Exception:
        """The error of the operation at `failed` after the pause: its errno, and the first of the operations with
        NOTE."""
        if failed in self._refused:
            return self._refused[failed](number, noted)
        return OperationFailed(
            self._names.get(failed, "start"), "the container's process", number, detail=os.strerror(number)
        )
