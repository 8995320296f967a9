"""Updates our files in a running container: /etc/hosts when its networks change, /etc/resolv.conf when the host's
changes. They are in the container's own memory, and are reached through the container's root, which the container may
have rearranged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from engine.container import etc
from engine.errors import EngineError
from engine.filetree.regular import reopened
from engine.kernel import calls, flags
from engine.spec.state import ContainerRecord, Endpoint

_LARGEST = 1 << 20


def change_hosts(record: ContainerRecord, new: Sequence[Endpoint], removed: Sequence[Endpoint]) -> None:
    """Add the lines of `new` and remove those of `removed`."""
    hostname = record.spec.hostname or record.id[:12]
    added = "".join(etc.own_lines(record.spec, hostname, new)).encode()
    addresses = {address for end in removed for address in (end.ipv4_address, end.ipv6_address) if address}

    def change(text: bytes) -> bytes:
        lines = text.splitlines(keepends=True)
        return b"".join(line for line in lines if not _is_of(line, addresses)) + added

    _edit(record, "hosts", change)


def replace_resolv_conf(record: ContainerRecord, old: str, new: str) -> None:
    """Write `new` if the file's content is still `old`: changes by programs of the container are kept."""
    _edit(record, "resolv.conf", lambda text: new.encode() if text == old.encode() else text)


def _edit(record: ContainerRecord, name: str, change: Callable[[bytes], bytes]) -> None:
    """Nothing happens if the file is not ours or is read-only: DNS gives the same answers."""
    if any(os.path.normpath(mount.target) in ("/etc", f"/etc/{name}") for mount in record.spec.mounts):
        return
    with contextlib.suppress(OSError, EngineError):
        root = os.open(f"/proc/{record.state.pid}/root", os.O_PATH | os.O_CLOEXEC)
        try:
            within = flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_SYMLINKS
            fd = reopened(calls.openat2(root, f"etc/{name}", os.O_PATH, resolve=within), os.O_RDWR)
        finally:
            os.close(root)
        with os.fdopen(fd, "r+b") as file:
            status = os.fstat(file.fileno())
            if status.st_nlink != 1 or status.st_size > _LARGEST:
                return
            before = file.read()
            if (after := change(before)) != before:
                file.seek(0)
                file.write(after)
                file.truncate()


def _is_of(line: bytes, addresses: set[str]) -> bool:
    first = line.split(maxsplit=1)[:1]
    return bool(first) and first[0].decode(errors="replace") in addresses
