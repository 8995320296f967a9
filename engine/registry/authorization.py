"""How requests for one repository are authorized: basic authentication, or a bearer token from the realm that the
registry names (distribution project, spec/auth/token.md and oauth.md)."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.parse

from engine.errors import RegistryError
from engine.image.reference import Reference
from engine.registry import challenge, credentials
from engine.registry.responses import Responses
from engine.registry.transport import Transport
from engine.spec.credentials import Credentials

_SLACK_SECONDS = 10.0
"""A token is renewed this long before it expires."""


class Authorization:
    """The Authorization header for one repository; `scope` is what a token must allow. Used by several threads."""

    def __init__(self, reference: Reference, transport: Transport, scope: str, given: Credentials | None) -> None:
        self._reference, self._transport, self._given = reference, transport, given
        self.scope = scope
        self._responses = Responses(reference, transport)
        self._header = ""
        self._expires = 0.0
        self._lock = threading.Lock()

    def known(self) -> str:
        """The header, "" if there is none yet or its token has expired."""
        return self._header if not self._expires or time.monotonic() < self._expires else ""

    def log_in(self, header: str, tried: str) -> None:
        """Answer the challenge in `header` (WWW-Authenticate); `tried` is the header that was refused."""
        with self._lock:
            if self.known() not in ("", tried):
                return  # another thread has logged in meanwhile
            found = self._given or credentials.find(self._transport.registry)
            for offered in challenge.parse(header):
                if offered.scheme == "bearer":
                    self.bearer(offered, found)
                    return
                if offered.scheme == "basic" and found and found.username:
                    self._header, self._expires = found.basic(), 0.0
                    return
        # Without credentials the second 401 is reported.

    def bearer(self, offered: challenge.Challenge, found: Credentials | None) -> None:
        """Get a token from the challenge's realm. Raises RegistryError."""
        realm = offered.parameters.get("realm", "")
        parts = urllib.parse.urlsplit(self._transport.joined("", realm))
        if parts.scheme != "https" and not (parts.scheme == "http" and self._transport.trusting):
            raise RegistryError(f"{self._reference.registry} names {realm!r} for login, which is not https: refused")
        query = {"scope": self.scope} if self.scope else {}
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
        with self._transport.request(method, realm, headers=headers, body=body) as response:
            self._responses.expect(response, (200,), f"login for {self._reference.name}")
            try:
                answer = json.loads(self._responses.read(response, 1 << 20))
                token = str(answer.get("token") or answer["access_token"])
                if not re.fullmatch(r"[!-~]+", token):
                    raise ValueError("not a token (RFC 6750, 2.1)")
                seconds = float(answer.get("expires_in") or 60)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise RegistryError(f"{parts.netloc} returned no token for {self._reference.name}") from error
        self._header = f"Bearer {token}"
        self._expires = time.monotonic() + max(seconds - _SLACK_SECONDS, seconds / 2)
