"""Compiles profiles to BPF programs with libseccomp, cached below the cache root."""

from __future__ import annotations

import functools
import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engine import atomic, digest
from engine.bounded_read import MIB, read_bytes
from engine.container import capabilities
from engine.container.seccomp import default
from engine.errors import InvalidSpec, OperationFailed, Unsupported
from engine.kernel.libseccomp import ARCHITECTURES, OPERATORS, Comparison, Filter
from engine.paths import Roots, make_private
from engine.spec import securityopts

_FORMAT = "4"
"""Part of every cache key: increment it when the compiler or the default profile changes."""

ALLOW, KILL_PROCESS, KILL_THREAD, LOG, TRAP, ERRNO = (
    0x7FFF0000,
    0x80000000,
    0x00000000,
    0x7FFC0000,
    0x00030000,
    0x00050000,
)
_EPERM, _ENOSYS = ERRNO | 1, ERRNO | 38
_ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
}
_FOREIGN = {"x86_64": (ARCHITECTURES["X86"], ARCHITECTURES["X32"]), "aarch64": (ARCHITECTURES["ARM"],)}
"""Architectures whose programs a machine also runs."""
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_SPECIAL = ("clone", "clone3", "personality", "socket")


def program(roots: Roots, security_opt: Sequence[str], capability_bits: int, *, privileged: bool) -> str:
    """Path of the BPF program that the options ask for, "" for unconfined. Raises InvalidSpec for a bad profile."""
    chosen = securityopts.read(security_opt)[0].seccomp
    if chosen == "unconfined" or (privileged and not chosen):
        return ""
    text = "" if chosen in ("", "builtin") else chosen if chosen.startswith("{") else _read(chosen)
    folder = f"{roots.cache}/seccomp"
    path = f"{folder}/{_key(text, capability_bits)}.bpf"
    if not os.path.exists(path):
        name = "given inline" if chosen.startswith("{") else chosen
        _store(folder, path, _custom(text, name, capability_bits) if text else _default(capability_bits))
    return path


@functools.lru_cache(maxsize=16)
def _key(text: str, capability_bits: int) -> str:
    system = os.uname()
    parts = [_FORMAT, text, capability_bits, system.machine, system.release if text else ""]
    return digest.hexadecimal(json.dumps(parts).encode())[:32]


def _read(path: str) -> str:
    try:
        return read_bytes(path, 4 * MIB, "a seccomp profile").decode()
    except OSError as error:
        raise InvalidSpec(f"seccomp profile {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidSpec(f"seccomp profile {path}: not UTF-8 text: {error}") from error


def _store(folder: str, path: str, code: bytes) -> None:
    try:
        make_private(folder)
        atomic.replace(path, code)
    except OSError as error:
        raise OperationFailed.of("write", path, error) from error


def _default(bits: int) -> bytes:
    refused: set[str] = set(default.NEVER)
    for capability, calls in default.UNLESS_CAPABLE.items():
        if not capabilities.has(bits, capability):
            refused.update(calls)
    for capability, calls in default.ALSO_WITH.items():
        if capabilities.has(bits, capability):
            refused.difference_update(calls)
    compiled = Filter(_EPERM, _FOREIGN[os.uname().machine])
    known = {one: compiled.calls(one) for one in compiled.architectures}
    for name in sorted({n for calls in known.values() for n, number in calls.items() if _looked_at(number)}):
        if name not in refused and name not in _SPECIAL:
            compiled.rule(ALLOW, name)
    if capabilities.has(bits, "SYS_ADMIN"):
        compiled.rule(ALLOW, "clone")
        compiled.rule(ALLOW, "clone3")
    else:
        compiled.rule(ALLOW, "clone", [(0, OPERATORS["MASKED_EQ"], default.NEW_NAMESPACES, 0)])
        compiled.rule(_ENOSYS, "clone3")
    for value in default.PERSONALITIES:
        compiled.rule(ALLOW, "personality", [(0, OPERATORS["EQ"], value, 0)])
    compiled.rule(ALLOW, "socket", [(0, OPERATORS["NE"], default.CLOSED_FAMILY, 0)])
    later = [number for name, number in default.LATER.items() if name not in refused]
    return _with_enosys(compiled, lambda one: _newest(known[one].values()), later)


def _looked_at(number: int) -> bool:
    """x32 has separate numbers from 512 on, for older calls."""
    return number <= default.NEWEST or number >= 512


def _newest(numbers: Iterable[int]) -> int:
    return max(number for number in numbers if number <= default.NEWEST)


def _with_enosys(compiled: Filter, newest: Callable[[int], int], later: Iterable[int] = ()) -> bytes:
    """The program with a prefix that returns ENOSYS for calls newer than `newest`, except those in `later`: programs
    try a new call first, and fall back only on this error."""
    load, equal, above, at_least, leave = 0x20, 0x15, 0x25, 0x35, 0x06
    native = [one for one in compiled.architectures if one != ARCHITECTURES["X32"]]
    further = sorted(later)
    tail = 1 + 4 * len(native)
    allow, end = tail + len(further) + 1, tail + len(further) + 2
    code: list[tuple[int, int, int, int]] = [(load, 0, 0, 4)]

    def to(place: int, ahead: int = 0) -> int:
        """The jump distance from the instruction `ahead` of the next one."""
        return place - len(code) - ahead - 1

    for number, architecture in enumerate(native):
        highest = newest(architecture)
        other = end if number + 1 == len(native) else len(code) + 4
        code += [
            (equal, 0, to(other), architecture),
            (load, 0, 0, 0),
            (at_least, to(end, 2), 0, 0x40000000),  # x32 reports the architecture x86_64
            (above, to(tail, 3), to(end, 3), highest),
        ]
    for number in further:
        code.append((equal, to(allow), 0, number))
    code += [(leave, 0, 0, _ENOSYS), (leave, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *one) for one in code) + compiled.export()


def _custom(text: str, name: str, bits: int) -> bytes:
    """Docker's profile format: defaultAction, archMap or architectures, syscalls [{names, action, errnoRet, args, includes,
    excludes}]."""
    try:
        profile = json.loads(text)
        otherwise = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
        compiled = Filter(otherwise, list(_architectures(profile)))
        named = set()
        for entry in profile.get("syscalls") or ():
            action = _action(entry["action"], entry.get("errnoRet"))
            if not _applies(entry, bits):
                continue
            for call in entry.get("names") or [entry["name"]]:
                named.add(call)
                if action != otherwise:
                    for comparisons in _alternatives(entry.get("args") or ()):
                        compiled.rule(action, call, comparisons)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidSpec(f"seccomp profile {name}: {type(error).__name__}: {error}") from error
    except (OperationFailed, Unsupported) as error:
        raise InvalidSpec(f"seccomp profile {name}: {error}") from error
    if otherwise & 0xFFFF0000 != ERRNO:
        return compiled.export()
    known = {one: compiled.calls(one) for one in compiled.architectures}
    return _with_enosys(compiled, lambda one: max((n for call, n in known[one].items() if call in named), default=0))


def _architectures(profile: dict[str, Any]) -> Iterable[int]:
    native = os.uname().machine
    for entry in profile.get("archMap") or ():
        if entry["architecture"].removeprefix("SCMP_ARCH_").lower() == native:
            yield from _known(entry.get("subArchitectures") or ())
    yield from _known(profile.get("architectures") or ())


def _known(names: Iterable[str]) -> Iterable[int]:
    """The architectures among the names whose programs can run here."""
    possible = _FOREIGN[os.uname().machine]
    found = (ARCHITECTURES.get(name.removeprefix("SCMP_ARCH_")) for name in names)
    return (one for one in found if one in possible)


def _alternatives(args: Sequence[dict[str, Any]]) -> list[list[Comparison]]:
    """All comparisons in one rule; if two concern the same argument, each in a separate rule, as in runc."""
    found = [
        (arg["index"], OPERATORS[arg["op"].removeprefix("SCMP_CMP_")], arg["value"], arg.get("valueTwo", 0))
        for arg in args
    ]
    if len({one[0] for one in found}) < len(found):
        return [[one] for one in found]
    return [found]


def _action(name: str, number: int | None) -> int:
    if name == "SCMP_ACT_ERRNO":
        return ERRNO | (1 if number is None else number)
    if name not in _ACTIONS:
        raise Unsupported(f"the action {name} is not supported", hint=f"Known: SCMP_ACT_ERRNO, {', '.join(_ACTIONS)}.")
    return _ACTIONS[name]


def _applies(entry: dict[str, Any], bits: int) -> bool:
    machine = _GO_NAMES.get(os.uname().machine, os.uname().machine)
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    capable = [bool(bits & capabilities.mask([name])) for name in includes.get("caps") or ()]
    incapable = [bool(bits & capabilities.mask([name])) for name in excludes.get("caps") or ()]
    if not all(capable) or any(incapable):
        return False
    if includes.get("arches") and machine not in includes["arches"]:
        return False
    if machine in (excludes.get("arches") or ()):
        return False
    if includes.get("minKernel") and _kernel() < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and _kernel() >= _version(excludes["minKernel"]))


def _kernel() -> tuple[int, ...]:
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])
