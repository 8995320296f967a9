"""The OCI distribution protocol (opencontainers/distribution-spec, v1.1) for one repository."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Sequence

from engine.errors import Corrupt, NotFound, RegistryError
from engine.image.blobs import BlobWriter, digest_of
from engine.image.manifest import ACCEPTED, MANIFEST_LIMIT, OCI_INDEX, Descriptor, Index, parse
from engine.image.reference import Reference
from engine.registry.download import download
from engine.registry.repository import Repository
from engine.registry.transport import Response
from engine.registry.upload import Upload
from engine.spec.credentials import Credentials

_PAGES = 100
"""Most pages of a list that we request."""


class Client:
    """Requests about the repository of `reference`; `actions` is pull, or pull,push. Used by several threads at once."""

    def __init__(
        self,
        reference: Reference,
        actions: str = "pull",
        insecure: Collection[str] = (),
        mirror: str = "",
        given: Credentials | None = None,
    ) -> None:
        self.reference = reference
        self._repository = Repository(reference, actions, insecure, mirror, given)
        self._root, self._request = self._repository.root, self._repository.request
        self._responses = self._repository.responses

    def check_access(self) -> None:
        """Check that the registry accepts the credentials (distribution-spec, "Determining Support"). Raises RegistryError."""
        self._repository.authorization.scope = ""
        with self._request("GET", "/v2/") as response:
            if response.status == 401:
                raise RegistryError(
                    f"{self.reference.registry}: unauthorized: incorrect username or password", status=401
                )
            self._expect(response, (200,), f"login at {self.reference.registry}")

    def manifest(self, pinned: str) -> tuple[bytes, str, str]:
        """The manifest for a tag or digest: its bytes, media type and digest, verified. Raises NotFound, Corrupt."""
        headers = {"Accept": ", ".join(ACCEPTED)}
        with self._request("GET", f"{self._root}/manifests/{pinned}", headers=headers) as response:
            part = None if pinned == self.reference.pinned else ("manifest", pinned)
            self._responses.expect(response, (200,), f"manifest {self.reference.familiar}", part=part)
            body = self._responses.read(response, MANIFEST_LIMIT)
            digest = digest_of(body)
            promised = pinned if pinned.startswith("sha256:") else response.headers.get("Docker-Content-Digest", digest)
            if digest != promised:
                raise Corrupt(f"the manifest of {self.reference.familiar} has the digest {digest}; expected {promised}")
            return body, response.headers.get("Content-Type", ""), digest

    def blob(self, digest: str, size: int) -> bytes:
        """A small blob, verified. Raises NotFound, RegistryError, Corrupt."""
        with self._request("GET", f"{self._root}/blobs/{digest}") as response:
            subject = f"blob {digest} of {self.reference.familiar}"
            self._responses.expect(response, (200,), subject, part=("blob", digest))
            body = self._responses.read(response, size)
        if len(body) != size or digest_of(body) != digest:
            raise Corrupt(f"blob {digest} of {self.reference.familiar} is not what its manifest says")
        return body

    def referrers(self, digest: str) -> list[Descriptor]:
        """The manifests whose subject is `digest` (distribution-spec, "Listing Referrers"); without that API, those in the
        index tagged sha256-<hex>. Raises RegistryError, ImageError."""
        headers = {"Accept": OCI_INDEX}
        with self._request("GET", f"{self._root}/referrers/{digest}", headers=headers) as response:
            body = self._responses.read(response, MANIFEST_LIMIT) if response.status == 200 else b""
        if not body:
            try:
                body, _, _ = self.manifest(digest.replace(":", "-"))
            except NotFound:
                return []
        found = parse(body, OCI_INDEX, f"referrers of {digest}")
        return found.manifests if isinstance(found, Index) else []

    def tags(self) -> list[str]:
        """The repository's tags (distribution-spec, "Listing Tags"), page by page. Raises NotFound, RegistryError."""
        found: list[str] = []
        path = f"{self._root}/tags/list"
        for _ in range(_PAGES):
            with self._request("GET", path) as response:
                self._expect(response, (200,), f"tags of {self.reference.familiar}")
                found += self._tags_of(self._responses.read(response, MANIFEST_LIMIT))
                following = re.match(r"\s*<([^>]+)>", response.headers.get("Link", ""))
            if not following:
                break
            target = urllib.parse.urlsplit(self._repository.transport.joined("", following[1]))
            path = f"{target.path}?{target.query}"
        return found

    def _tags_of(self, body: bytes) -> list[str]:
        try:
            tags = json.loads(body)["tags"] or []
        except (ValueError, TypeError, LookupError) as error:
            raise RegistryError(f"the list of tags of {self.reference.familiar} is not valid") from error
        return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []

    def fetch(
        self, writer: BlobWriter, progress: Callable[[int], None] | None = None, *, urls: Sequence[str] = ()
    ) -> None:
        """Download the blob that `writer` expects, as `download` does. Raises NotFound, RegistryError, Corrupt."""
        download(self._repository, writer, progress, urls=urls)

    def has_blob(self, digest: str) -> bool:
        with self._request("HEAD", f"{self._root}/blobs/{digest}") as response:
            self._expect(response, (200, 404), f"blob {digest}")
            return response.status == 200

    def mount_blob(self, digest: str, repository: str) -> bool:
        """Mount a blob from another repository of the registry; False if the registry begins an upload instead."""
        query = urllib.parse.urlencode({"mount": digest, "from": repository})
        with self._request("POST", f"{self._root}/blobs/uploads/?{query}", headers={"Content-Length": "0"}) as response:
            return response.status == 201

    def upload(self, digest: str, size: int, content: Callable[[int], Iterable[bytes]]) -> None:
        """Upload a blob; `content` yields its bytes from an offset on. Raises RegistryError."""
        Upload(self._repository, digest, size, content).run()

    def put_manifest(self, tag: str, body: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest. Returns its subject's digest if the registry maintains the list of
        referrers (distribution-spec, "Pushing Manifests with Subject"), else ""."""
        headers = {"Content-Type": media_type, "Content-Length": str(len(body))}
        with self._request("PUT", f"{self._root}/manifests/{tag}", headers=headers, body=lambda: body) as response:
            self._expect(response, (201,), f"manifest {self.reference.familiar}")
            return response.headers.get("OCI-Subject", "")

    def _expect(self, response: Response, statuses: tuple[int, ...], subject: str) -> None:
        self._responses.expect(response, statuses, subject)
