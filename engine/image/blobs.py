"""The content-addressed store: <state>/blobs/sha256/<hex>.

A blob is written under a temporary name, verified (digest and size), synced and renamed, so that a blob in the store is
complete. The blob of a layer that is just being unpacked is on disk only when an image has the layer (`LayerStore.sync`).
Readers verify a blob again, because the file may have been damaged or edited since.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from engine.errors import Corrupt, NotFound, OperationFailed
from engine.paths import Roots, make_private, private

if TYPE_CHECKING:
    import hashlib

_READ = 1 << 20
PARTIAL = ".partial-"
LOCK = ".lock-"


def _sha256() -> hashlib._Hash:
    import hashlib  # loads OpenSSL, which commands that only read image names do not need

    return hashlib.sha256()


def digest_of(data: bytes) -> str:
    found = _sha256()
    found.update(data)
    return f"sha256:{found.hexdigest()}"


class BlobStore:
    def __init__(self, roots: Roots) -> None:
        self.folder = roots.blobs

    def path(self, digest: str) -> str:
        return f"{self.folder}/{digest.removeprefix('sha256:')}"

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is in the store (with this size, if given)."""
        try:
            status = os.stat(self.path(digest))
        except OSError:
            return False
        return size is None or status.st_size == size

    def is_whole(self, digest: str, size: int) -> bool:
        """Whether the blob is in the store, by its content: that of a layer without an image may be damaged if the
        machine went down meanwhile."""
        if not self.has(digest, size):
            return False
        try:
            with self.open(digest) as reader:
                while reader.read():
                    pass
        except (NotFound, Corrupt):
            return False
        return True

    def read(self, digest: str) -> bytes:
        """A small blob, verified. Raises NotFound, Corrupt."""
        with self.open(digest) as reader:
            return b"".join(iter(lambda: reader.read(_READ), b""))

    @contextlib.contextmanager
    def open(self, digest: str) -> Iterator[VerifyingReader]:
        try:
            file = open(self.path(digest), "rb")
        except FileNotFoundError as error:
            raise NotFound("blob", digest, hint="Pull or build the image again.") from error
        except OSError as error:
            raise OperationFailed.of("open", self.path(digest), error) from error
        with file:
            yield VerifyingReader(file, digest, os.fstat(file.fileno()).st_size)

    def add(self, data: bytes) -> str:
        """Store a small blob; returns its digest. Has no effect if it is already stored."""
        digest = digest_of(data)
        if not self.has(digest, len(data)):
            with self.writer(digest, len(data)) as writer:
                writer.write(data)
        return digest

    @contextlib.contextmanager
    def writer(self, digest: str, size: int, *, synced: bool = True) -> Iterator[BlobWriter]:
        """Write a blob whose digest and size are known. They are verified at the end of the block, and the blob is stored. If
        the block raises, or they do not match (Corrupt), nothing remains. With `synced` False, the caller commits a layer
        with this blob, and its `sync` writes both to disk."""
        with self._write(BlobWriter(digest, size), synced) as writer:
            yield writer

    @contextlib.contextmanager
    def ingest(self, *, digest: str = "", synced: bool = True) -> Iterator[BlobWriter]:
        """Write a blob of our own: at the end of the block it is stored under the writer's digest. A given `digest` is
        not verified here, because the caller does so. `synced`: see `writer`."""
        with self._write(BlobWriter(digest, None), synced) as writer:
            yield writer

    @contextlib.contextmanager
    def _write(self, writer: BlobWriter, synced: bool) -> Iterator[BlobWriter]:
        partial = f"{self.folder}/{PARTIAL}{os.urandom(8).hex()}"
        try:
            make_private(self.folder)
            file = open(partial, "xb", buffering=0, opener=private)
        except OSError as error:
            raise OperationFailed.of("create", partial, error) from error
        try:
            with file:
                writer.file = file
                yield writer
                writer.finish()
                if synced:
                    os.fsync(file.fileno())
            os.rename(partial, self.path(writer.digest))
            if synced:
                _sync_folder(self.folder)
        except OSError as error:
            raise OperationFailed.of("write blob", writer.digest, error) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)

    def sync(self, digest: str) -> None:
        """Write a blob that was written with `synced` False to disk. Raises OperationFailed."""
        path = self.path(digest)
        try:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            _sync_folder(self.folder)
        except OSError as error:
            raise OperationFailed.of("synchronise", path, error) from error

    @contextlib.contextmanager
    def exclusive(self, digest: str) -> Iterator[None]:
        """Lock the blob against concurrent downloads in any process. Check again whether it exists once the lock is held."""
        path = f"{self.folder}/{LOCK}{digest.removeprefix('sha256:')[:24]}"
        try:
            make_private(self.folder)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OperationFailed.of("create", path, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.close(fd)

    def names(self) -> list[str]:
        """The names in the directory: hex digests, and partial files of running or dead writers."""
        try:
            return os.listdir(self.folder)
        except FileNotFoundError:
            return []


class BlobWriter:
    """Writes a blob's bytes to `file`. Raises Corrupt before writing more than the promised `size`. A blob with a
    digest but no size is not verified."""

    file: IO[bytes]

    def __init__(self, digest: str, size: int | None) -> None:
        self.digest, self.size = digest, size
        self._hash = None if digest and size is None else _sha256()
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)
        if self.size is not None and self.written > self.size:
            raise Corrupt(f"blob {self.digest} is longer than the {self.size} bytes its descriptor promises")
        if self._hash:
            self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self.file.write(view) :]

    def restart(self) -> None:
        """Discard what was written, for a server that cannot resume."""
        self.file.seek(0)
        self.file.truncate()
        self._hash = _sha256()
        self.written = 0

    def finish(self) -> None:
        """Raises Corrupt unless exactly the promised bytes were written; if none were promised, takes their digest."""
        if self._hash is None:
            return
        found = self._hash.hexdigest()
        if self.size is None:
            self.digest, self.size = f"sha256:{found}", self.written
        _verify(self.digest, self.size, self.written, found)


class VerifyingReader:
    """Reads a blob; the read that reaches its end raises Corrupt if the digest or size is wrong."""

    def __init__(self, file: IO[bytes], digest: str, size: int) -> None:
        self._file, self.digest, self.size = file, digest, size
        self._hash = _sha256()
        self._count = 0

    def read(self, size: int = _READ) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        self._count += len(data)
        if self._count >= self.size or not data:
            _verify(self.digest, self.size, self._count, self._hash.hexdigest())
        return data


def _verify(digest: str, size: int, count: int, hexdigest: str) -> None:
    if count != size:
        raise Corrupt(f"blob {digest} has {count} bytes; its descriptor promises {size}")
    if f"sha256:{hexdigest}" != digest:
        raise Corrupt(f"blob {digest} has the digest sha256:{hexdigest}: it was damaged or tampered with")


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
