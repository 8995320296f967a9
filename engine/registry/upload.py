"""Uploads of blobs, resumed where they broke (distribution-spec, "Pushing a blob in chunks")."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Callable, Iterable, Mapping

from urllib3.exceptions import HTTPError

from engine.errors import NotFound, RegistryError
from engine.registry.repository import Repository
from engine.registry.transport import BUSY, Attempts, Response

_WHOLE = 16 << 20
"""Largest blob in bytes that is first sent in one piece: one request less, and little to send again."""
_TRANSIENT = (*BUSY, 416)


class Upload:
    """Sends one blob; `content` yields its bytes from an offset on."""

    def __init__(
        self, repository: Repository, digest: str, size: int, content: Callable[[int], Iterable[bytes]]
    ) -> None:
        self._repository, self._digest, self._size, self._content = repository, digest, size, content
        self._subject = f"upload of {digest} to {repository.reference.familiar}"

    def run(self) -> None:
        """Send a small blob as a whole ("POST then PUT"). If that fails, or for a larger one, send it in a PATCH and
        continue a broken upload from the offset that the registry reports, or start again. Raises RegistryError."""
        attempts, location, offset = Attempts(), "", 0
        whole = self._size <= _WHOLE
        while True:
            try:
                if not location:
                    location, offset = self._begin(), 0
                if whole:
                    whole = False
                    self._finish(location, self._size, lambda: self._content(0))
                    return
                if offset < self._size:
                    location = self._send(location, offset)
                    offset = self._size
                self._finish(location)
                return
            except (HTTPError, OSError) as error:
                uploads = f"{self._repository.root}/blobs/uploads/"
                broken: Exception = self._repository.transport.failure("PATCH", uploads, error)
            except RegistryError as error:
                if error.status not in _TRANSIENT and not error.unreachable:
                    raise
                broken = error
            location, offset = self._position(location)
            if not attempts.again(offset):
                raise broken

    def _begin(self) -> str:
        uploads = f"{self._repository.root}/blobs/uploads/"
        with self._repository.request("POST", uploads, headers={"Content-Length": "0"}, retry=False) as response:
            self._expect(response, (202,), f"upload to {self._repository.reference.familiar}")
            return self._location(response, self._repository.transport.base)

    def _finish(self, location: str, size: int = 0, body: Callable[[], Iterable[bytes]] | None = None) -> None:
        """Close an upload, with the last `size` bytes of the blob."""
        end = location + ("&" if "?" in location else "?") + urllib.parse.urlencode({"digest": self._digest})
        headers = {"Content-Length": str(size), **({"Content-Type": "application/octet-stream"} if body else {})}
        with self._request("PUT", end, headers=headers, body=body) as response:
            self._expect(response, (201, 204), self._subject)

    def _send(self, location: str, offset: int) -> str:
        """Send all bytes from `offset` on. Returns where the upload continues."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(self._size - offset),
            "Content-Range": f"{offset}-{self._size - 1}",
        }
        with self._request("PATCH", location, headers=headers, body=lambda: self._content(offset)) as response:
            self._expect(response, (202,), self._subject)
            return self._location(response, location)

    def _position(self, location: str) -> tuple[str, int]:
        """Where to continue a broken upload; ("", 0) if the registry no longer knows it."""
        if location:
            with contextlib.suppress(RegistryError, NotFound, HTTPError, OSError):
                with self._request("GET", location) as response:
                    self._expect(response, (204,), "upload")
                    last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
                    return self._location(response, location), int(last) + 1 if last.isdecimal() and last != "0" else 0
        return "", 0

    def _location(self, response: Response, base: str) -> str:
        location = self._repository.transport.joined(base, response.headers.get("Location", "") or base)
        self._repository.transport.check_scheme(location, "wants the upload to go to")
        return location

    def _expect(self, response: Response, statuses: tuple[int, ...], subject: str) -> None:
        self._repository.responses.expect(response, statuses, subject)

    def _request(
        self,
        method: str,
        location: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], object] | None = None,
    ) -> contextlib.AbstractContextManager[Response]:
        """A request to an upload's location. It may be on another host, which does not get our credentials."""
        ours, theirs = urllib.parse.urlsplit(self._repository.transport.base), urllib.parse.urlsplit(location)
        authorize = (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)
        return self._repository.request(method, location, headers=headers, body=body, retry=False, authorize=authorize)
