"""The device program of cgroup v2, run by a small interpreter of BPF."""

import struct

import pytest

from engine.cgroup.devices import device_program, parse_rule
from engine.container.devices import DEFAULT_RULES
from engine.errors import InvalidSpec

MKNOD, READ, WRITE, BLOCK, CHARACTER = 1, 2, 4, 1, 2


def decide(program, kind, major, minor, access):
    """The kernel's decision; knows only the instructions that the compiler uses."""
    context = struct.pack("=III", access << 16 | kind, major, minor)
    register = [0, "context", *[0] * 9]
    at = 0
    while True:
        code, registers, offset, value = struct.unpack_from("=BBhi", program, at * 8)
        target, source = registers & 15, registers >> 4
        at += 1
        if code == 0x61:
            (register[target],) = struct.unpack_from("=I", context, offset)
        elif code == 0x54:
            register[target] &= value
        elif code == 0x74:
            register[target] >>= value
        elif code == 0x55:
            at += offset if register[target] != value else 0
        elif code == 0xBC:
            register[target] = register[source]
        elif code == 0xB4:
            register[target] = value
        elif code == 0x95:
            return bool(register[0])
        else:
            raise AssertionError(hex(code))


def test_defaults():
    program = device_program(DEFAULT_RULES)
    assert decide(program, CHARACTER, 1, 3, READ | WRITE)
    assert decide(program, CHARACTER, 136, 77, READ | WRITE)
    assert decide(program, BLOCK, 8, 0, MKNOD)
    assert not decide(program, BLOCK, 8, 0, READ)
    assert not decide(program, BLOCK, 8, 0, MKNOD | READ)
    assert not decide(program, CHARACTER, 1, 1, READ)  # /dev/mem
    assert not decide(program, CHARACTER, 10, 200, READ | WRITE)  # /dev/net/tun


def test_rules():
    program = device_program(["b 8:16 r", "c *:5 w", "a 9:* rwm"])
    assert decide(program, BLOCK, 8, 16, READ)
    assert not decide(program, BLOCK, 8, 16, WRITE)
    assert not decide(program, BLOCK, 8, 17, READ)
    assert decide(program, CHARACTER, 77, 5, WRITE)
    assert decide(program, BLOCK, 9, 1, MKNOD | READ | WRITE)
    assert not decide(device_program([]), CHARACTER, 1, 3, READ)


@pytest.mark.parametrize("rule", ["", "c", "c 1:3", "d 1:3 r", "c 1 r", "c 1:x r", "c 1:3 rx", "c 1:3 r w"])
def test_bad_rules(rule):
    with pytest.raises(InvalidSpec, match="is not of the form 'c 1:3 rwm'"):
        parse_rule(rule)
