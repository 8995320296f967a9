"""The OCI distribution protocol (opencontainers/distribution-spec, v1.1) for one repository."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from urllib3.exceptions import HTTPError

from engine.errors import Corrupt, NotFound, RegistryError
from engine.image.blobs import BlobWriter, digest_of
from engine.image.manifest import ACCEPTED, MANIFEST_LIMIT, OCI_INDEX, Descriptor, Index, parse
from engine.image.reference import Reference
from engine.registry import challenge, credentials
from engine.registry.transport import Attempts, Response, Transport, retry_after
from engine.spec.credentials import Credentials

_READ = 1 << 20
_ERROR_LIMIT = 1 << 16
_WHOLE = 16 << 20
"""Bytes of a blob that is first sent in one piece: one request less, and not much to send again."""
_SLACK_SECONDS = 10.0
_PAGES = 100
"""Pages of a list that are asked for at most."""
_TRANSIENT = (408, 416, 429, 500, 502, 503, 504)


class Client:
    """Talks about the repository of `reference`; `actions` is pull, or pull,push. Used by several threads at once."""

    def __init__(
        self,
        reference: Reference,
        actions: str = "pull",
        insecure: Collection[str] = (),
        mirror: str = "",
        given: Credentials | None = None,
    ) -> None:
        self.reference = reference
        self.transport = Transport(reference.registry, insecure, mirror)
        repository = "/".join(filter(None, (self.transport.prefix, reference.repository)))
        self._root = f"/v2/{repository}"
        self._scope = f"repository:{repository}:{actions}"
        self._given = given
        self._authorization = ""
        self._expires = 0.0
        self._lock = threading.Lock()

    # -- reading

    def check_access(self) -> None:
        """Whether the registry takes the credentials (distribution-spec, "Determining Support"). Raises RegistryError."""
        self._scope = ""
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
            self._expect(response, (200,), f"manifest {self.reference.familiar}")
            body = self._small(response, MANIFEST_LIMIT)
            digest = digest_of(body)
            promised = pinned if pinned.startswith("sha256:") else response.headers.get("Docker-Content-Digest", digest)
            if digest != promised:
                raise Corrupt(f"the manifest of {self.reference.familiar} has the digest {digest}; expected {promised}")
            return body, response.headers.get("Content-Type", ""), digest

    def blob(self, digest: str, size: int) -> bytes:
        """A small blob, verified. Raises NotFound, RegistryError, Corrupt."""
        with self._request("GET", f"{self._root}/blobs/{digest}") as response:
            self._expect(response, (200,), f"blob {digest} of {self.reference.familiar}")
            body = self._small(response, size)
        if len(body) != size or digest_of(body) != digest:
            raise Corrupt(f"blob {digest} of {self.reference.familiar} is not what its manifest says")
        return body

    def referrers(self, digest: str) -> list[Descriptor]:
        """Manifests whose subject is `digest` (distribution-spec, "Listing Referrers"); of a registry without the API those
        in the index tagged sha256-<hex>. Raises RegistryError, ImageError."""
        headers = {"Accept": OCI_INDEX}
        with self._request("GET", f"{self._root}/referrers/{digest}", headers=headers) as response:
            body = self._small(response, MANIFEST_LIMIT) if response.status == 200 else b""
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
                answer = json.loads(self._small(response, MANIFEST_LIMIT))
                found += answer.get("tags") or []
                following = re.match(r"\s*<([^>]+)>", response.headers.get("Link", ""))
            if not following:
                break
            target = urllib.parse.urlsplit(following[1])
            path = f"{target.path}?{target.query}"
        return found

    def fetch(
        self, writer: BlobWriter, progress: Callable[[int], None] | None = None, *, urls: Sequence[str] = ()
    ) -> None:
        """Fetch the blob that `writer` expects; a broken connection is resumed where it broke (RFC 9110, 14.2). `urls` are where
        it can be had if the registry may not distribute it (descriptor.md).

        `progress` is called with the number of bytes so far, and may raise to stop. Raises RegistryError, Corrupt.
        """
        attempts, place, elsewhere = Attempts(), "", list(urls)
        while True:
            try:
                self._fetch_once(writer, progress, place)
            except NotFound:
                if not elsewhere:
                    raise
                place = elsewhere.pop(0)
                self.transport.check_scheme(place, "has a layer at")
            except (HTTPError, OSError) as error:
                if not attempts.again(writer.written):
                    raise self.transport.failure("GET", f"{self._root}/blobs/{writer.digest}", error) from error
                continue
            else:
                return

    def _fetch_once(self, writer: BlobWriter, progress: Callable[[int], None] | None, place: str = "") -> None:
        headers = {"Accept-Encoding": "identity"}
        if writer.written:
            headers["Range"] = f"bytes={writer.written}-"
        url = place or f"{self._root}/blobs/{writer.digest}"
        with self._request("GET", url, headers=headers, authorize=not place) as response:
            self._expect(response, (200, 206), f"blob {writer.digest} of {self.reference.familiar}")
            started = response.headers.get("Content-Range", "").startswith(f"bytes {writer.written}-")
            if writer.written and not (response.status == 206 and started):
                writer.restart()
            # Some servers encode whether or not it is accepted. To decode is to read ahead, so it is only done then.
            encoded = "Content-Encoding" in response.headers
            while data := response.read(_READ, decode_content=encoded):
                writer.write(data)
                if progress:
                    progress(writer.written)

    # -- writing

    def has_blob(self, digest: str) -> bool:
        with self._request("HEAD", f"{self._root}/blobs/{digest}") as response:
            self._expect(response, (200, 404), f"blob {digest}")
            return response.status == 200

    def mount_blob(self, digest: str, repository: str) -> bool:
        """Take a blob over from another repository of the registry; False when it does not (an upload was begun)."""
        query = urllib.parse.urlencode({"mount": digest, "from": repository})
        with self._request("POST", f"{self._root}/blobs/uploads/?{query}", headers={"Content-Length": "0"}) as response:
            return response.status == 201

    def upload(self, digest: str, size: int, content: Callable[[int], Iterable[bytes]]) -> None:
        """Send a blob; `content` gives its bytes from an offset on. A small one is sent as a whole (distribution-spec, "POST
        then PUT"). If that fails, or for a larger one, an upload that breaks is resumed where it broke ("Pushing a blob in
        chunks"), or begun again. Raises RegistryError.
        """
        attempts, location, offset = Attempts(), "", 0
        whole = size <= _WHOLE
        subject = f"upload of {digest} to {self.reference.familiar}"
        while True:
            try:
                if not location:
                    location, offset = self._begin_upload(), 0
                if whole:
                    whole = False
                    self._finish_upload(location, digest, subject, size, lambda: content(0))
                    return
                if offset < size:
                    location = self._send(location, offset, size, content, subject)
                    offset = size
                self._finish_upload(location, digest, subject)
                return
            except (HTTPError, OSError) as error:
                broken: Exception = self.transport.failure("PATCH", f"{self._root}/blobs/uploads/", error)
            except RegistryError as error:
                if error.status and error.status not in _TRANSIENT:
                    raise
                broken = error
            location, offset = self._position(location)
            if not attempts.again(offset):
                raise broken

    def _begin_upload(self) -> str:
        with self._request("POST", f"{self._root}/blobs/uploads/", headers={"Content-Length": "0"}) as response:
            self._expect(response, (202,), f"upload to {self.reference.familiar}")
            return self._location(response, self.transport.base)

    def _finish_upload(
        self, location: str, digest: str, subject: str, size: int = 0, body: Callable[[], Iterable[bytes]] | None = None
    ) -> None:
        """Close an upload, with the last `size` bytes of the blob."""
        end = location + ("&" if "?" in location else "?") + urllib.parse.urlencode({"digest": digest})
        headers = {"Content-Length": str(size), **({"Content-Type": "application/octet-stream"} if body else {})}
        with self._upload("PUT", end, headers=headers, body=body) as response:
            self._expect(response, (201, 204), subject)

    def _send(
        self, location: str, offset: int, size: int, content: Callable[[int], Iterable[bytes]], subject: str
    ) -> str:
        """All bytes from `offset` on; where the upload goes on."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size - offset),
            "Content-Range": f"{offset}-{size - 1}",
        }
        with self._upload("PATCH", location, headers=headers, body=lambda: content(offset)) as response:
            self._expect(response, (202,), subject)
            return self._location(response, location)

    def _position(self, location: str) -> tuple[str, int]:
        """Where a broken upload stands, as ("", 0) when the registry does not know it any more."""
        if location:
            with contextlib.suppress(RegistryError, NotFound, HTTPError, OSError):
                with self._upload("GET", location) as response:
                    self._expect(response, (204,), "upload")
                    last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
                    return self._location(response, location), int(last) + 1 if last.isdecimal() and last != "0" else 0
        return "", 0

    def _location(self, response: Response, base: str) -> str:
        location = urllib.parse.urljoin(base, response.headers.get("Location", "") or base)
        self.transport.check_scheme(location, "wants the upload to go to")
        return location

    def _upload(
        self,
        method: str,
        location: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], object] | None = None,
    ) -> contextlib.AbstractContextManager[Response]:
        """A location elsewhere is legal, but it does not get our credentials."""
        ours, theirs = urllib.parse.urlsplit(self.transport.base), urllib.parse.urlsplit(location)
        authorize = (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)
        return self._request(method, location, headers=headers, body=body, retry=False, authorize=authorize)

    def put_manifest(self, tag: str, body: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest; the digest of its subject if the registry lists referrers by itself
        (distribution-spec, "Pushing Manifests with Subject"), else ""."""
        headers = {"Content-Type": media_type, "Content-Length": str(len(body))}
        with self._request("PUT", f"{self._root}/manifests/{tag}", headers=headers, body=lambda: body) as response:
            self._expect(response, (201,), f"manifest {self.reference.familiar}")
            return response.headers.get("OCI-Subject", "")

    # -- authorization

    @contextlib.contextmanager
    def _request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], object] | None = None,
        retry: bool = True,
        authorize: bool = True,
    ) -> Iterator[Response]:
        """A request with what authorization is known; a 401 is answered once by logging in and asking again."""
        for last in (False, True):
            with contextlib.ExitStack() as stack:
                sent = dict(headers or {})
                if authorize and (known := self._known()):
                    sent["Authorization"] = known
                response = stack.enter_context(
                    self.transport.request(method, url, headers=sent, body=body and body(), retry=retry)
                )
                if response.status != 401 or last or not authorize:
                    yield response
                    return
                self._log_in(response.headers.get("WWW-Authenticate", ""), sent.get("Authorization", ""))

    def _known(self) -> str:
        return self._authorization if not self._expires or time.monotonic() < self._expires else ""

    def _log_in(self, header: str, tried: str) -> None:
        with self._lock:
            if self._known() not in ("", tried):
                return  # another thread was here meanwhile
            found = self._given or credentials.find(self.transport.registry)
            for offered in challenge.parse(header):
                if offered.scheme == "bearer":
                    self._bearer(offered, found)
                    return
                if offered.scheme == "basic" and found and found.username:
                    self._authorization, self._expires = found.basic(), 0.0
                    return
        # Nothing to answer with: the second 401 is reported.

    def _bearer(self, offered: challenge.Challenge, found: Credentials | None) -> None:
        """The token endpoint (distribution project, spec/auth/token.md; oauth.md when there is an identity token)."""
        realm = offered.parameters.get("realm", "")
        parts = urllib.parse.urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and self.transport.trusting):
            raise RegistryError(f"{self.reference.registry} names {realm!r} for login, which is not https: refused")
        query = {"scope": self._scope} if self._scope else {}
        if service := offered.parameters.get("service"):
            query["service"] = service
        headers: dict[str, str] = {}
        method, body = "GET", None
        if found and found.identity_token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": found.identity_token,
                "client_id": "composer",
            }
            method, body = "POST", urllib.parse.urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            realm += ("&" if parts.query else "?") + urllib.parse.urlencode(query)
            if found:
                headers["Authorization"] = found.basic()
        with self.transport.request(method, realm, headers=headers, body=body) as response:
            self._expect(response, (200,), f"login for {self.reference.name}")
            try:
                answer = json.loads(self._small(response, 1 << 20))
                token = answer.get("token") or answer["access_token"]
                seconds = float(answer.get("expires_in") or 60)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise RegistryError(f"{parts.netloc} returned no token for {self.reference.name}") from error
        self._authorization = f"Bearer {token}"
        self._expires = time.monotonic() + max(seconds - _SLACK_SECONDS, seconds / 2)

    # -- answers

    def _small(self, response: Response, limit: int) -> bytes:
        try:
            data = bytes(response.read(limit + 1, decode_content=True))
        except (HTTPError, OSError) as error:
            raise self.transport.failure("GET", response.url or "", error) from error
        if len(data) > limit:
            raise RegistryError(f"{self.reference.registry} sent a response of more than {limit} bytes")
        return data

    def _expect(self, response: Response, statuses: tuple[int, ...], subject: str) -> None:
        """Raises what an unexpected status means."""
        status = response.status
        if status in statuses:
            return
        said = self._said(response)
        registry = self.reference.registry
        if status == 404:
            raise NotFound("image", self.reference.familiar, hint=f"{registry} says: {said or 'not found'}")
        if status in (401, 403):
            hint = "The image may be private or not exist. Credentials are read from ~/.docker/config.json."
            raise RegistryError(f"access to {subject} denied by {registry}: {said or status}", status=status, hint=hint)
        if status == 429:
            wait = retry_after(response)
            when = f"It asks to wait {wait:.0f} seconds: try again then" if wait else "Try again later"
            raise RegistryError(
                f"{registry} limits the rate of requests: {said or status}",
                status=status,
                hint=f"{when}, or log in if you have not.",
            )
        raise RegistryError(f"{subject}: {registry} answered {status}: {said or response.reason}", status=status)

    def _said(self, response: Response) -> str:
        """The messages in an error body (distribution-spec, "Error Codes")."""
        try:
            text = response.read(_ERROR_LIMIT)
        except (HTTPError, OSError):
            return ""
        try:
            body: Any = json.loads(text)
            found = [str(item.get("message") or item.get("code")) for item in body["errors"]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            is_text = response.headers.get("Content-Type", "").startswith("text/plain")
            found = text.decode("utf-8", "replace").strip().splitlines()[:1] if is_text else []
        return "; ".join(found)[:500]
