"""Errors of requests, with Docker's messages. Commands print the message; the Docker API adds `status`.

Refusal         400: the request itself is wrong
├── Forbidden   403: nobody may do this
├── Unknown     404: there is no such object
└── InUse       409: something still needs the object
"""

from __future__ import annotations


class Refusal(Exception):
    """`status`: the HTTP status of the answer (Docker Engine API, "Errors")."""

    status = 400


class Forbidden(Refusal):
    status = 403


class Unknown(Refusal):
    status = 404


class InUse(Refusal):
    status = 409
