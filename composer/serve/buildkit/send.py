"""Send a build's result to the client over its session: as a tar archive, or file by file with the protocol of
files.py.

    STAT path, mode …  ▶ one for each, then an empty one
    REQ number         ◀ for each file that the client wants
    DATA number, bytes ▶ pieces, then an empty one
    FIN                ◀ ▶

The files come from the archive that the engine writes to an unnamed temporary file.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from typing import TYPE_CHECKING

from anyio import to_thread

from composer.serve.buildkit import wire
from composer.serve.buildkit.files import DATA, ERR, FIN, REQ, STAT
from composer.serve.buildkit.grpc import INVALID, Failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from composer.serve.buildkit.grpc import Call, Peer

METHOD = "/moby.filesync.v1.FileSend/DiffCopy"
EXPORTER_ID = "buildkit-attachable-exporter-id"
"""Metadata that identifies a result if the client requested several."""
PIECE = 32 << 10
_TYPES = {
    tarfile.DIRTYPE: 1 << 31, tarfile.SYMTYPE: 1 << 27, tarfile.BLKTYPE: 1 << 26, tarfile.CHRTYPE: 1 << 26 | 1 << 21,
    tarfile.FIFOTYPE: 1 << 25,
}  # fmt: skip
_BITS = ((0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20))
"""Bits of Go's io/fs.FileMode."""


async def send(peer: Peer, number: int, write: Callable[[int], None], folder: str, *, archive: bool) -> None:
    """Send the tar archive that `write` writes to a descriptor as the client's result `number`. Raises Failed."""
    with tempfile.TemporaryFile(dir=folder) as file:
        await to_thread.run_sync(write, file.fileno())
        file.seek(0)
        call = await peer.call(METHOD, [(EXPORTER_ID, str(number))])
        try:
            await (_as_archive if archive else _as_files)(call, file)
        finally:
            await peer.cancel(call)


async def _as_archive(call: Call, file: IO[bytes]) -> None:
    while data := await to_thread.run_sync(file.read, PIECE):
        await call.send(wire.message((1, data)))
    await call.close()
    while await call.receive() is not None:
        pass


async def _as_files(call: Call, file: IO[bytes]) -> None:
    with tarfile.open(fileobj=file, mode="r:") as tar:
        members = sorted(_members(tar), key=lambda member: member.name.split("/"))
        for member in members:
            await call.send(wire.message((1, STAT), (2, _status(member, tar))))
        await call.send(wire.message((1, STAT)))
        while (data := await call.receive()) is not None:
            packet = wire.fields(data)
            kind, number = wire.number(packet, 1), wire.number(packet, 3)
            if kind == REQ:
                if number >= len(members):
                    raise Failed(INVALID, f"the client asked for an unknown file: {number}")
                await _content(call, tar, members[number], number)
            elif kind == FIN:
                await call.send(wire.message((1, FIN)))
                await call.close()
            elif kind == ERR:
                raise Failed(INVALID, next(iter(wire.blocks(packet, 4)), b"").decode("utf-8", "replace"))


def _members(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """All members except the root, by the names that the client uses."""
    found = []
    for member in tar:
        member.name = os.path.normpath(member.name).lstrip("/")
        if member.name not in ("", "."):
            found.append(member)
    return found


def _status(member: tarfile.TarInfo, tar: tarfile.TarFile) -> bytes:
    """The STAT of a member. A hard link is sent as a separate file."""
    real = tar._find_link_target(member) if member.islnk() else member  # type: ignore[attr-defined]
    mode = real.mode & 0o777 | _TYPES.get(real.type, 0)
    for ours, theirs in _BITS:
        mode |= theirs if real.mode & ours else 0
    return wire.message(
        (1, member.name.encode("utf-8", "surrogateescape")),
        (2, mode),
        (3, real.uid),
        (4, real.gid),
        (5, real.size if real.isreg() else 0),
        (6, int(real.mtime * 1_000_000_000)),
        (7, real.linkname.encode("utf-8", "surrogateescape") if real.issym() else b""),
        (8, real.devmajor if real.isdev() else 0),
        (9, real.devminor if real.isdev() else 0),
    )


async def _content(call: Call, tar: tarfile.TarFile, member: tarfile.TarInfo, number: int) -> None:
    source = tar.extractfile(member)
    if source is not None:
        with source:
            while data := source.read(PIECE):
                await call.send(wire.message((1, DATA), (3, number), (4, data)))
    await call.send(wire.message((1, DATA), (3, number)))
