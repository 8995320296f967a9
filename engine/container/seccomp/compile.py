"""Profiles to BPF programs by libseccomp (seccomp_rule_add(3), seccomp_export_bpf(3)), kept below the cache root."""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from typing import Any

from engine.container import capabilities
from engine.container.seccomp import default
from engine.errors import InvalidSpec, OperationFailed
from engine.paths import Roots

_FORMAT = "1"
"""Part of every cache key: raise it when the compiler or the default profile changes."""

ALLOW, KILL_PROCESS, KILL_THREAD, LOG = 0x7FFF0000, 0x80000000, 0x00000000, 0x7FFC0000
_EPERM, _ENOSYS = 1, 38


def _errno(number: int) -> int:
    return 0x00050000 | number


_ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": 0x00030000,
}
_OPERATORS = {name: number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), start=1)}
_EQ, _MASKED_EQ = 4, 7


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


Comparison = tuple[int, int, int, int]


class _Filter:
    """One filter under construction in libseccomp."""

    def __init__(self, default_action: int) -> None:
        name = ctypes.util.find_library("seccomp")
        if name is None:
            raise OperationFailed(
                "load", "libseccomp", detail="it is not installed", hint="Install it: apt install libseccomp2"
            )
        self._lib = ctypes.CDLL(name)
        self._lib.seccomp_init.restype = ctypes.c_void_p
        self._lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._lib.seccomp_init(ctypes.c_uint32(default_action)))
        # The program must not set no_new_privs by itself (SCMP_FLTATR_CTL_NNP); that is the container's choice.
        self._lib.seccomp_attr_set(self._context, 3, ctypes.c_uint32(0))
        if os.uname().machine == "x86_64":
            for architecture in (0x40000003, 0x4000003E):  # x86, x32
                self._lib.seccomp_arch_add(self._context, ctypes.c_uint32(architecture))

    def rule(self, action: int, name: str, comparisons: Sequence[Comparison] = ()) -> None:
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            return  # a system call of another architecture, or newer than the library
        array = (_Comparison * max(1, len(comparisons)))(*(_Comparison(*c) for c in comparisons))
        result = self._lib.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), ctypes.c_int(number), ctypes.c_uint(len(comparisons)), array
        )
        if result < 0 and result != -17:  # -EEXIST: the same rule twice
            raise InvalidSpec(f"seccomp: no rule for {name}: {os.strerror(-result)}")

    def known(self) -> list[str]:
        """Every system call that the library knows on this architecture."""
        libc = ctypes.CDLL(None)
        names = []
        for number in range(1024):
            pointer = self._lib.seccomp_syscall_resolve_num_arch(ctypes.c_uint32(0), ctypes.c_int(number))
            if pointer:
                names.append(ctypes.string_at(pointer).decode())
                libc.free(ctypes.c_void_p(pointer))
        return names

    def export(self, path: str) -> None:
        temporary = f"{path}.{os.getpid()}-{threading.get_ident()}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            result = self._lib.seccomp_export_bpf(self._context, fd)
        finally:
            os.close(fd)
            self._lib.seccomp_release(self._context)
        if result < 0:
            os.unlink(temporary)
            raise OperationFailed("compile a seccomp profile to", path, -result)
        os.replace(temporary, path)


def program(roots: Roots, security_opt: Sequence[str], capability_bits: int, *, privileged: bool) -> str:
    """Path of the BPF program that the options ask for, "" for unconfined. Raises InvalidSpec for a bad profile."""
    chosen = next((o.partition("=")[2] or o.partition(":")[2] for o in security_opt if o.startswith("seccomp")), "")
    if chosen == "unconfined" or (privileged and not chosen):
        return ""
    text = "" if chosen in ("", "builtin") else _read(chosen)
    key = hashlib.sha256(json.dumps([_FORMAT, text, capability_bits, os.uname().machine]).encode()).hexdigest()[:32]
    folder = f"{roots.cache}/seccomp"
    path = f"{folder}/{key}.bpf"
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        if text:
            _custom(text, chosen, capability_bits, path)
        else:
            _default(capability_bits, path)
    return path


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise InvalidSpec(f"seccomp profile {path}: {error.strerror}") from error


def _default(bits: int, path: str) -> None:
    refused: set[str] = set(default.NEVER)
    for capability, calls in default.UNLESS_CAPABLE.items():
        if not capabilities.has(bits, capability):
            refused.update(calls)
    for capability, calls in default.ALSO_WITH.items():
        if capabilities.has(bits, capability):
            refused.difference_update(calls)
    compiled = _Filter(_errno(_ENOSYS))
    special = {"clone", "clone3", "personality", "socket"}
    for name in compiled.known():
        if name in refused:
            compiled.rule(_errno(_EPERM), name)
        elif name not in special:
            compiled.rule(ALLOW, name)
    if capabilities.has(bits, "SYS_ADMIN"):
        compiled.rule(ALLOW, "clone")
        compiled.rule(ALLOW, "clone3")
    else:
        compiled.rule(ALLOW, "clone", [(0, _MASKED_EQ, default.NEW_NAMESPACES, 0)])
    for value in default.PERSONALITIES:
        compiled.rule(ALLOW, "personality", [(0, _EQ, value, 0)])
    for comparison in _families():
        compiled.rule(ALLOW, "socket", [comparison])
    compiled.export(path)


def _families() -> list[Comparison]:
    """One rule for each gap between the closed families: libseccomp takes one comparison an argument in a rule."""
    first, second = default.CLOSED_FAMILIES
    between = [(0, _EQ, family, 0) for family in range(first + 1, second)]
    return [(0, _OPERATORS["LT"], first, 0), *between, (0, _OPERATORS["GT"], second, 0)]


def _custom(text: str, name: str, bits: int, path: str) -> None:
    """Docker's profile format: defaultAction, syscalls [{names, action, errnoRet, args, includes, excludes}]."""
    try:
        profile = json.loads(text)
        compiled = _Filter(_action(profile["defaultAction"], profile.get("defaultErrnoRet")))
        for entry in profile.get("syscalls", ()):
            if not _applies(entry, bits):
                continue
            action = _action(entry["action"], entry.get("errnoRet"))
            comparisons = [
                (a["index"], _OPERATORS[a["op"].removeprefix("SCMP_CMP_")], a["value"], a.get("valueTwo", 0))
                for a in entry.get("args") or ()
            ]
            for call in entry.get("names") or [entry["name"]]:
                if action != _action(profile["defaultAction"], profile.get("defaultErrnoRet")):
                    compiled.rule(action, call, comparisons)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidSpec(f"seccomp profile {name}: {type(error).__name__}: {error}") from error
    compiled.export(path)


def _action(name: str, number: int | None) -> int:
    if name == "SCMP_ACT_ERRNO":
        return _errno(_EPERM if number is None else number)
    return _ACTIONS[name]


def _applies(entry: dict[str, Any], bits: int) -> bool:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}

    def capable(names: Sequence[str]) -> bool:
        return all(bits & capabilities.mask([n]) for n in names)

    if "caps" in includes and not capable(includes["caps"]):
        return False
    if "arches" in includes and machine not in includes["arches"]:
        return False
    if excludes.get("caps") and any(bits & capabilities.mask([n]) for n in excludes["caps"]):
        return False
    return machine not in (excludes.get("arches") or ())
