"""Errors that a handler raises to refuse a request.

HTTPError                 any status, with a message for the client
└── BadRequest            400: the request itself is wrong
ClientGone                the client closed its connection; the handler's work is no longer wanted
"""

from __future__ import annotations


class HTTPError(Exception):
    """Answered as `{"message": …}` with this status (Docker Engine API, "Errors"). `code`: the exit code of a failed
    program, reported if the answer has already begun."""

    def __init__(self, status: int, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class BadRequest(HTTPError):
    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class ClientGone(Exception):
    """The client has closed the connection."""
