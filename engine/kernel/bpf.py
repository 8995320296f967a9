"""bpf(2) for programs that decide about device access in a cgroup (BPF_PROG_TYPE_CGROUP_DEVICE)."""

from __future__ import annotations

import ctypes
import os
import struct

from engine.errors import OperationFailed

_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_CGROUP_DEVICE_TYPE, _CGROUP_DEVICE_ATTACH = 15, 6

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, arguments: bytes, operation: str, subject: object) -> int:
    result = int(_libc.syscall(_BPF[os.uname().machine], command, arguments, len(arguments)))
    if result < 0:
        number = ctypes.get_errno()
        raise OperationFailed(operation, subject, number, detail=os.strerror(number))
    return result


def load_device_program(code: bytes, subject: object) -> int:
    """Load struct bpf_insn[] `code`; the program exists as long as its descriptor, or a cgroup that it is attached
    to."""
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    addresses = (ctypes.addressof(instructions), ctypes.addressof(licence))
    arguments = struct.pack("=IIQQIIQ48x", _CGROUP_DEVICE_TYPE, len(code) // 8, *addresses, 0, 0, 0)
    return _bpf(_PROG_LOAD, arguments, "load the device program for", subject)


def attach_device_program(cgroup: int, program: int, subject: object) -> None:
    """Attach the program to the cgroup open as `cgroup`, replacing an earlier one."""
    arguments = struct.pack("=IIIII", cgroup, program, _CGROUP_DEVICE_ATTACH, 0, 0)
    _bpf(_PROG_ATTACH, arguments, "attach the device program to", subject)
