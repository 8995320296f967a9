"""Credentials for a registry."""

from __future__ import annotations

import base64

from msgspec import Struct


class Credentials(Struct, frozen=True):
    """A user name with a password, or an identity token for OAuth 2 (then the user name is empty)."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def basic(self) -> str:
        """The value of a Basic Authorization header (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")
