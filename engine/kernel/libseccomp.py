"""libseccomp(3), which knows system call numbers and compiles filters; loaded on demand."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence

from engine.errors import OperationFailed, Unsupported

NATIVE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Machine → AUDIT_ARCH_…, as the kernel passes it to filters, and libseccomp's name."""
ARCHITECTURES = {"X86_64": 0xC000003E, "X86": 0x40000003, "X32": 0x4000003E, "AARCH64": 0xC00000B7, "ARM": 0x40000028}
OPERATORS = {name: number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), start=1)}

Comparison = tuple[int, int, int, int]
"""Argument's index, operator, value, second value (of MASKED_EQ: the mask comes first)."""

_CTL_NNP, _CTL_OPTIMIZE, _EEXIST, _HIGHEST = 3, 8, 17, 1024
_BINARY_TREE = 2
"""From libseccomp 2.5 on; an older one keeps its list."""
_X32_BIT = 0x40000000

_LIBRARY = "libseccomp.so.2"
"""The library's name with its ABI version, unchanged since 2012."""


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class Filter:
    """One filter under construction, for this machine's architecture and those of `more`. Raises OperationFailed."""

    def __init__(self, default_action: int, more: Sequence[int] = ()) -> None:
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            hint = "Install it: apt install libseccomp2"
            raise OperationFailed("load", _LIBRARY, detail=str(error), hint=hint) from error
        machine = os.uname().machine
        if machine not in NATIVE:
            raise Unsupported(f"seccomp filters are not supported on {machine}", hint="Use seccomp=unconfined.")
        self.native = NATIVE[machine]
        self.architectures = (self.native, *(one for one in more if one != self.native))
        self._lib = library
        self._lib.seccomp_init.restype = ctypes.c_void_p
        self._lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._lib.seccomp_init(ctypes.c_uint32(default_action)))
        # The program must not set no_new_privs by itself; that is the container's choice.
        self._lib.seccomp_attr_set(self._context, _CTL_NNP, ctypes.c_uint32(0))
        # A binary tree instead of a list: the kernel runs the filter once for each call when it is installed.
        self._lib.seccomp_attr_set(self._context, _CTL_OPTIMIZE, ctypes.c_uint32(_BINARY_TREE))
        for architecture in self.architectures[1:]:
            self._lib.seccomp_arch_add(self._context, ctypes.c_uint32(architecture))

    def rule(self, action: int, name: str, comparisons: Sequence[Comparison] = ()) -> None:
        """Does nothing for a call that the library does not know, or comparisons that it cannot express."""
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            return
        array = (_Comparison * max(1, len(comparisons)))(*(_Comparison(*c) for c in comparisons))
        result = self._lib.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(comparisons)), array
        )
        if result < 0 and result != -_EEXIST:
            raise OperationFailed("add a seccomp rule for", name, -result)

    def calls(self, architecture: int) -> dict[str, int]:
        """Every system call that the library knows there, with its number."""
        libc = ctypes.CDLL(None)
        base = _X32_BIT if architecture == ARCHITECTURES["X32"] else 0
        found = {}
        for number in range(_HIGHEST):
            pointer = self._lib.seccomp_syscall_resolve_num_arch(
                ctypes.c_uint32(architecture), ctypes.c_int(base + number)
            )
            if pointer:
                found[ctypes.string_at(pointer).decode()] = number
                libc.free(ctypes.c_void_p(pointer))
        return found

    def export(self) -> bytes:
        """The program, an array of struct sock_filter. The filter cannot be used afterwards."""
        fd = os.memfd_create(f"seccomp-{threading.get_ident()}", os.MFD_CLOEXEC)
        try:
            result = self._lib.seccomp_export_bpf(self._context, fd)
            self._lib.seccomp_release(self._context)
            if result < 0:
                raise OperationFailed("compile", "a seccomp profile", -result)
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)
