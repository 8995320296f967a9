"""The title of a process in `ps`."""

import ctypes
import os
import struct
from collections.abc import Sequence

_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_MAP = struct.Struct("=12QIi")
_kept: list[ctypes.Array[ctypes.c_char]] = []


def set_title(words: Sequence[str]) -> None:
    """Make `words` the process's command line in proc(5), if the kernel supports that.

    struct prctl_mm_map (PR_SET_MM(2const)) wants all of the addresses that /proc/self/stat shows, and the heap's end.
    """
    text = b"\0".join(map(os.fsencode, words)) + b"\0"
    title = ctypes.create_string_buffer(text, len(text))
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = ["", "", "", *file.read().rpartition(")")[2].split()]  # field numbers of proc_pid_stat(5)
    code, stack, data, heap, environ = (
        map(int, fields[a:b]) for a, b in ((26, 28), (28, 29), (45, 47), (47, 48), (50, 52))
    )
    begin = ctypes.addressof(title)
    packed = _MAP.pack(*code, *data, *heap, libc.sbrk(0), *stack, begin, begin + len(text), *environ, 0, 0, -1)
    request = ctypes.create_string_buffer(packed, len(packed))
    arguments = (_PR_SET_MM_MAP, ctypes.addressof(request), len(packed), 0)
    if libc.prctl(_PR_SET_MM, *map(ctypes.c_ulong, arguments)) == 0:
        _kept.append(title)
