"""Device access on cgroup v2: a BPF_PROG_TYPE_CGROUP_DEVICE program, written as bytes (bpf(2))."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from engine.errors import InvalidSpec
from engine.kernel import bpf

_ACCESS = {"m": 1, "r": 2, "w": 4}
_KINDS = {"b": 1, "c": 2}


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, value)


def device_program(rules: Sequence[str]) -> bytes:
    """A program that allows the accesses of the rules ("c 1:3 rwm", "b *:* m", "a *:* rwm") and refuses all others.

    struct bpf_cgroup_dev_ctx: access_type (access << 16 | kind), major, minor.
    """
    load_word, and_k, rsh_k, jne_k, mov_x, mov_k, leave = 0x61, 0x54, 0x74, 0x55, 0xBC, 0xB4, 0x95
    program = _instruction(load_word, 2, 1, 0) + _instruction(and_k, 2, value=0xFFFF)
    program += _instruction(load_word, 3, 1, 0) + _instruction(rsh_k, 3, value=16)
    program += _instruction(load_word, 4, 1, 4) + _instruction(load_word, 5, 1, 8)
    for rule in rules:
        kind, major, minor, access = parse_rule(rule)
        checks = []
        if kind != "a":
            checks.append((2, _KINDS[kind]))
        if major != "*":
            checks.append((4, int(major)))
        if minor != "*":
            checks.append((5, int(minor)))
        bits = sum(_ACCESS[letter] for letter in access)
        # r6 = requested access without the bits that this rule allows; zero means allowed.
        tail = _instruction(mov_x, 6, 3) + _instruction(and_k, 6, value=~bits & 7)
        tail += _instruction(jne_k, 6, 0, 2, 0) + _instruction(mov_k, 0, value=1) + _instruction(leave)
        body = b""
        for index, (register, value) in enumerate(checks):
            skip = (len(checks) - 1 - index) + len(tail) // 8
            body += _instruction(jne_k, register, 0, skip, value)
        program += body + tail
    return program + _instruction(mov_k, 0, value=0) + _instruction(leave)


def parse_rule(rule: str) -> tuple[str, str, str, str]:
    """ "c 1:3 rwm" → ("c", "1", "3", "rwm"). Raises InvalidSpec."""
    parts = rule.split()
    major, colon, minor = parts[1].partition(":") if len(parts) > 1 else ("", "", "")
    numbers = all(n == "*" or n.isdecimal() for n in (major, minor)) and colon and major and minor
    if len(parts) != 3 or parts[0] not in "abc" or not numbers or not set(parts[2]) <= set("rwm"):
        raise InvalidSpec(f"device cgroup rule {rule!r} is not of the form 'c 1:3 rwm'")
    return parts[0], major, minor, parts[2]


def attach_devices(folder: str, rules: Sequence[str]) -> None:
    """Load the program and attach it to the cgroup at `folder`; it lives as long as the cgroup."""
    program = bpf.load_device_program(device_program(rules), folder)
    try:
        target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            bpf.attach_device_program(target, program, folder)
        finally:
            os.close(target)
    finally:
        os.close(program)
