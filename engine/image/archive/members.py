"""The files in an archive of images."""

from __future__ import annotations

import contextlib
import tarfile
from collections.abc import Iterator
from typing import IO

from engine.errors import Corrupt, ImageError
from engine.image.blobs import BlobWriter, digest_of

_SMALL = 8 << 20
_READ = 1 << 20


class Members:
    """An archive's files by their names."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name.removeprefix("./"): member for member in tar}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> list[str]:
        return list(self._members)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Raises ImageError."""
        member = self._members.get(name)
        # Old archives name a layer that two images share once, and link to it.
        found = (
            self._tar.extractfile(member) if member and (member.isreg() or member.issym() or member.islnk()) else None
        )
        if found is None:
            raise ImageError(f"not an image archive: it has no {name}")
        with found:
            yield found

    def read(self, name: str) -> bytes:
        """A small file. Raises ImageError."""
        with self.open(name) as file:
            data = file.read(_SMALL + 1)
        if len(data) > _SMALL:
            raise ImageError(f"{name} in the archive has more than {_SMALL} bytes")
        return data

    def blob(self, digest: str) -> bytes:
        """A small blob, verified. Raises ImageError, Corrupt."""
        data = self.read(blob_name(digest))
        if digest_of(data) != digest:
            raise Corrupt(f"the archive's blob {digest} has different content: it was damaged or tampered with")
        return data

    def fetch(self, writer: BlobWriter) -> None:
        """The blob that the writer expects, which verifies it. Raises ImageError, Corrupt."""
        with self.open(blob_name(writer.digest)) as file:
            while data := file.read(_READ):
                writer.write(data)


def blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
