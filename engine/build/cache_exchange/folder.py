"""A cache in a directory: an OCI image layout (image-spec, image-layout.md), as BuildKit's type=local writes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import msgspec

from engine import atomic
from engine.bounded_read import read_bytes
from engine.errors import Corrupt, ImageError, NotFound, OperationFailed
from engine.image import manifest
from engine.image.blobs import BlobWriter, digest_of

REF_NAME = "org.opencontainers.image.ref.name"
_READ = 1 << 20


class Folder:
    """The layout at `path`."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    def _blob(self, digest: str) -> str:
        return f"{self.path}/blobs/{digest.replace(':', '/')}"

    def named(self, tag: str, digest: str = "") -> bytes:
        """The manifest with this digest, else the one that the index lists for the tag. Raises NotFound, ImageError."""
        if not digest:
            index = self._index()
            named = [one for one in index.manifests if one.annotations.get(REF_NAME) == tag]
            chosen = named or (index.manifests if len(index.manifests) == 1 else [])
            if not chosen:
                raise NotFound("build cache", f"{self.path}:{tag}")
            digest = chosen[-1].digest
        return self.blob(digest, manifest.MANIFEST_LIMIT)

    def _index(self) -> manifest.Index:
        path = f"{self.path}/index.json"
        try:
            body = read_bytes(path, manifest.MANIFEST_LIMIT, "an index")
        except FileNotFoundError:
            raise NotFound("build cache", self.path) from None
        except OSError as error:
            raise OperationFailed.of("read", path, error) from error
        found = manifest.parse(body, manifest.OCI_INDEX, path)
        if not isinstance(found, manifest.Index):
            raise ImageError(f"{path} is not an index")
        return found

    def blob(self, digest: str, limit: int) -> bytes:
        """A small blob, verified. Raises NotFound, Corrupt."""
        try:
            data = read_bytes(self._blob(digest), limit, "a blob")
        except FileNotFoundError:
            raise NotFound("blob", f"{digest} in {self.path}") from None
        except OSError as error:
            raise OperationFailed.of("read", self._blob(digest), error) from error
        if digest_of(data) != digest:
            raise Corrupt(f"{self._blob(digest)} does not have the digest that it is named after")
        return data

    def fetch(self, writer: BlobWriter) -> None:
        """Copy a blob, which the writer verifies."""
        path = self._blob(writer.digest)
        try:
            with open(path, "rb") as file:
                while data := file.read(_READ):
                    writer.write(data)
        except OSError as error:
            raise OperationFailed.of("read", path, error) from error

    def put(self, digest: str, source: str) -> None:
        """Copy the file `source`, the blob `digest`, unless it is there."""
        path = self._blob(digest)
        if not os.path.exists(path):
            self._write(path, lambda draft: shutil.copyfile(source, draft))

    def put_manifest(self, body: bytes, tag: str) -> None:
        """Write a manifest, and point the tag at it."""
        digest = digest_of(body)
        self.put_bytes(body)
        one = manifest.Descriptor(
            media_type=manifest.OCI_MANIFEST, digest=digest, size=len(body), annotations={REF_NAME: tag}
        )
        try:
            others = [one for one in self._index().manifests if one.annotations.get(REF_NAME) != tag]
        except NotFound:
            others = []
        index = manifest.Index(schema_version=2, media_type=manifest.OCI_INDEX, manifests=[*others, one])
        for name, content in (
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", msgspec.json.encode(index)),
        ):
            self._write_bytes(f"{self.path}/{name}", content)

    def put_bytes(self, body: bytes) -> None:
        self._write_bytes(self._blob(digest_of(body)), body)

    def _write_bytes(self, path: str, content: bytes) -> None:
        def fill(draft: str) -> None:
            with open(draft, "wb") as file:
                file.write(content)

        self._write(path, fill)

    def _write(self, path: str, fill: Callable[[str], object]) -> None:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with atomic.draft_of(path) as draft:
                fill(draft)
        except OSError as error:
            raise OperationFailed.of("write", path, error) from error
