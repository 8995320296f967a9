"""A running container's /etc/hosts, when its networks change. The file is in the container's own memory: it is reached
through the container's root, which the container may have rearranged."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence

from engine.container import etc
from engine.errors import EngineError
from engine.kernel import calls, flags
from engine.spec.state import ContainerRecord, Endpoint

_PATH = "etc/hosts"
_LARGEST = 1 << 20


def change(record: ContainerRecord, new: Sequence[Endpoint], gone: Sequence[Endpoint]) -> None:
    """Add the lines of `new` and remove those of `gone`. Nothing happens if the file is not ours or is read-only: DNS resolves
    the names anyway."""
    if any(os.path.normpath(mount.target) in ("/etc", "/etc/hosts") for mount in record.spec.mounts):
        return
    hostname = record.spec.hostname or record.id[:12]
    added = etc.own_lines(record.spec, hostname, new)
    addresses = {address for end in gone for address in (end.ipv4_address, end.ipv6_address) if address}
    with contextlib.suppress(OSError, EngineError):
        root = os.open(f"/proc/{record.state.pid}/root", os.O_PATH | os.O_CLOEXEC)
        try:
            within = flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_SYMLINKS
            fd = calls.openat2(root, _PATH, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY, resolve=within)
        finally:
            os.close(root)
        with os.fdopen(fd, "r+b") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size > _LARGEST:
                return
            lines = file.read().splitlines(keepends=True)
            kept = [line for line in lines if not _is_of(line, addresses)]
            file.seek(0)
            file.write(b"".join(kept) + "".join(added).encode())
            file.truncate()


def _is_of(line: bytes, addresses: set[str]) -> bool:
    first = line.split(maxsplit=1)[:1]
    return bool(first) and first[0].decode(errors="replace") in addresses
