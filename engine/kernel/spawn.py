"""Starts one of our programs as a child in new namespaces without copying our memory (clone(2), CLONE_VFORK)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import struct

from engine.errors import OperationFailed
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from collections.abc import Callable

_ABOVE = 10
"""Descriptors from here on do not collide with the process's own."""
_SPAWN = 32
"""Bytes from the program's entry to its `spawn`; see run.c."""
_MOVES = 12
_CLONE_VM, _CLONE_VFORK = 0x00000100, 0x00004000


class Spawner:
    """Loads a program (see engine.kernel.sealed_memory), so that we can call its function `spawn`; see
    keeper/script/run.c. Closes `program`. Raises OperationFailed."""

    def __init__(self, program: int, name: str) -> None:
        self._program = -1
        try:
            self._program = fcntl.fcntl(program, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
            size = os.fstat(program).st_size
            # It stays mapped, because we execute its `spawn` ourselves.
            self._code = mmap.mmap(program, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
            where = _address(name)
        except OSError as error:
            if self._program >= 0:
                os.close(self._program)
            raise OperationFailed.of("map", f"the program {name}", error) from error
        finally:
            os.close(program)
        entry, table = struct.unpack_from("=QQ", self._code, 24)
        offset, address = struct.unpack_from("=QQ", self._code, table + 8)
        start = where + offset + entry - address + _SPAWN
        kind = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_char_p, ctypes.c_long, ctypes.c_char_p)
        self._spawn: Callable[[bytes, int, bytes], int] = kind(start)
        self._kept = ctypes.create_string_buffer(1), (ctypes.c_char_p * 2)(name.encode(), None)
        empty, arguments = ctypes.addressof(self._kept[0]), ctypes.addressof(self._kept[1])
        # An empty path, argv, and an environment without variables, which ends as argv does.
        self._words = (empty, arguments, arguments + 8)

    def spawn(self, bits: int, descriptors: list[int]) -> tuple[int, int]:
        """Start a child in new namespaces (`bits` of clone(2)), with these as its descriptors 0, 1 …, at most five.
        Returns (pid, pidfd). It blocks all signals and has the dispositions that we have not caught. Raises
        OperationFailed."""
        high = []
        moves = []
        try:
            for place, fd in enumerate(descriptors):
                if fd < _ABOVE:
                    high.append(fd := fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE))
                moves += [fd, place]
            moves += [-1] * (_MOVES - len(moves))
            start = struct.pack(f"={_MOVES}q4Q", *moves, self._program, *self._words)
            pidfd = ctypes.c_int(-1)
            everything = bits | flags.CLONE_PIDFD | _CLONE_VM | _CLONE_VFORK
            clone = struct.pack("=11Q", everything, ctypes.addressof(pidfd), 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
            before = calls.mask_signals()
            try:
                pid = self._spawn(clone, len(clone), start)
            finally:
                calls.mask_signals(before)
        finally:
            for fd in high:
                os.close(fd)
        if pid < 0:
            raise OperationFailed("clone3", flags.names(bits, flags.CLONE), -pid, detail=os.strerror(-pid))
        return pid, pidfd.value


def _address(name: str) -> int:
    """The address of the mapping; ctypes cannot take that of a read-only buffer."""
    with open("/proc/self/maps", "rb") as file:
        for line in file:
            if f"/memfd:{name} ".encode() in line:
                return int(line.partition(b"-")[0], 16)
    raise OSError(errno.ENOENT, "it is in no mapping")
