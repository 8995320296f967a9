"""What a registry's responses mean: bodies of limited size, and errors from statuses and error bodies."""

from __future__ import annotations

import json
from typing import Any

from urllib3.exceptions import HTTPError

from engine.errors import NotFound, RegistryError
from engine.image.reference import Reference
from engine.registry.transport import Response, Transport, retry_after

_ERROR_LIMIT = 1 << 16


class Responses:
    """Reads the responses to requests about `reference`."""

    def __init__(self, reference: Reference, transport: Transport) -> None:
        self.reference, self.transport = reference, transport

    def read(self, response: Response, limit: int) -> bytes:
        """The body. Raises RegistryError if it is longer than `limit`."""
        try:
            data = bytes(response.read(limit + 1, decode_content=True))
        except (HTTPError, OSError) as error:
            raise self.transport.failure("GET", response.url or "", error) from error
        if len(data) > limit:
            raise RegistryError(f"{self.reference.registry} sent a response of more than {limit} bytes")
        return data

    def expect(
        self, response: Response, statuses: tuple[int, ...], subject: str, *, part: tuple[str, str] | None = None
    ) -> None:
        """Raise NotFound or RegistryError if the status is not one of `statuses`. What a 404 says to be missing is a part
        of the image (its kind, blob or manifest, and its digest), or the image itself."""
        status = response.status
        if status in statuses:
            return
        message = self._message(response)
        registry = self.reference.registry
        if status == 404:
            hint = f"{registry} says: {message or 'not found'}"
            if part:
                hint += "\nThe registry has the image, but not this part of it. Push the image again."
                raise NotFound(part[0], f"{part[1]} of {self.reference.familiar}", hint=hint)
            raise NotFound("image", self.reference.familiar, hint=hint)
        if status in (401, 403):
            hint = "The image may be private or not exist. Credentials are read from ~/.docker/config.json."
            raise RegistryError(
                f"access to {subject} denied by {registry}: {message or status}", status=status, hint=hint
            )
        if status == 429:
            wait = retry_after(response)
            when = f"It asks to wait {wait:.0f} seconds: try again then" if wait else "Try again later"
            raise RegistryError(
                f"{registry} limits the rate of requests: {message or status}",
                status=status,
                hint=f"{when}, or log in if you have not.",
            )
        raise RegistryError(f"{subject}: {registry} answered {status}: {message or response.reason}", status=status)

    def _message(self, response: Response) -> str:
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
