"""The HTTP status for an error of the engine (Docker Engine API, "Errors")."""

from __future__ import annotations

import re

from composer.serve.http.errors import HTTPError
from composer.view.errors import Refusal
from engine.errors import EngineError, RegistryError, system_message

STATUS = {
    "BadReference": 400,
    "InvalidSpec": 400,
    "Unsupported": 400,
    "NotFound": 404,
    "Conflict": 409,
    "WrongState": 409,
}
"""Class of engine.errors → status; all others are 500."""


def described_error(error: Exception) -> HTTPError:
    if isinstance(error, Refusal):
        return HTTPError(error.status, str(error))
    if isinstance(error, RegistryError) and error.unreachable:
        return HTTPError(500, _unreachable(error))
    if isinstance(error, EngineError):
        message = re.sub(r"^invalid platform '(.*)': (unknown .*)", r'"\1": \2: invalid argument', error.message)
        return failed(type(error).__name__, message)
    if isinstance(error, RecursionError):  # only a client's JSON is that deep
        return HTTPError(400, "invalid JSON: it is nested too deeply")
    if message := system_message(error):
        return HTTPError(500, message)
    return HTTPError(500, f"internal error: {type(error).__name__}: {error}")


def _unreachable(error: RegistryError) -> str:
    """The message as Docker words it, without the failed request."""
    if not error.reason:
        return error.message
    host = error.unreachable.split("/")[2]
    return f'Get "{error.unreachable}": dial tcp {host}: connect: {error.reason.lower()}'


def failed(kind: str, message: str) -> HTTPError:
    """An error that a supervisor reported; `kind` is the name of its class. As in Docker, a program that cannot be
    started is a client error."""
    status = STATUS.get(kind, 500)
    if kind == "StartFailed" and (
        "not found" in message or "no such file" in message or "permission denied" in message
    ):
        status = 400
    if "was killed by SIG" in message and "before it could run its program" in message:  # by another client
        status = 409
    return HTTPError(status, message)
