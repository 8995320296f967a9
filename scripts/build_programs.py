"""Compile the C programs of engine for each machine and write them as *_program.py beside their sources.

Needs gcc, and gcc-aarch64-linux-gnu for arm64. Run it after a change to one of them (`make programs`).
tests/keeper/test_programs.py compiles them again if the same release of gcc is installed, and compares byte by byte.
"""

import hashlib
import json
import re
import subprocess
import tempfile
from pathlib import Path

ENGINE = Path(__file__).resolve().parent.parent / "engine"
COMPILERS = {
    "x86_64": ("x86_64-linux-gnu-gcc", "strip"),
    "aarch64": ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-strip"),
}
FLAGS = (
    "-Os -static -nostdlib -nostartfiles -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -fno-pic "
    "-no-pie -fcf-protection=none -Wall -Wextra -Werror -Wl,--build-id=none -Wl,-z,noexecstack"
).split()
PACKED = ["-Wl,-n"]
LAYOUT = {name: ["-Wl,-z,noseparate-code"] for name in ("relay.c", "forward.c")}
"""How the linker places sections: packed, unless the program has data, which must not be executable."""


def release(compiler):
    """The compiler's release; another one may generate different code."""
    return subprocess.run([compiler, "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()


def compiled(source, machine, compiler, strip):
    flags = [flag for flag in FLAGS if machine == "x86_64" or "cf-protection" not in flag]
    flags += LAYOUT.get(source.name, PACKED)
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([compiler, *flags, "-o", file.name, source], check=True)
        subprocess.run([strip, "-s", "-R", ".comment", "-R", ".note.GNU-stack", file.name], check=True)
        return Path(file.name).read_bytes()


def headers(source):
    """The headers that the source includes, and those that these include."""
    for name in re.findall(r'^#include "(.+)"$', source.read_text(), re.MULTILINE):
        header = (source.parent / name).resolve()
        yield from headers(header)
        yield header


def digest(source):
    """SHA-256 of the source after its headers."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in [*headers(source), source])).hexdigest()


def write(source):
    name = source.name
    lines = [
        f'"""Written by scripts/build_programs.py from {name}: the program as an ELF file, for each machine."""',
        "",
    ]
    lines += ["from __future__ import annotations", ""]
    lines.append(f'SOURCE = "{digest(source)}"')
    lines += [f'"""SHA-256 of the {name} that this was built from, after its headers."""', ""]
    releases = {machine: release(compiler) for machine, (compiler, _) in COMPILERS.items()}
    lines += [f"COMPILERS = {json.dumps(releases)}", '"""The releases of gcc."""', "", "PROGRAMS = {"]
    for machine, tools in COMPILERS.items():
        text = compiled(source, machine, *tools).hex()
        lines.append(f'    "{machine}": (')
        lines += [f'        "{text[place : place + 100]}"' for place in range(0, len(text), 100)]
        lines.append("    ),")
    lines += ["}", ""]
    source.with_name(f"{source.stem}_program.py").write_text("\n".join(lines))


if __name__ == "__main__":
    for source in sorted(ENGINE.rglob("*.c")):
        write(source)
