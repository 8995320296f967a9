"""The results of composer.api."""

from __future__ import annotations

from msgspec import Struct


class ComposerError(Exception):
    """A command failed. `message` is its error message; `exit_code` as in docker compose."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.message, self.exit_code = message, exit_code


class Port(Struct, frozen=True):
    """A published port: connections to `host`:`published` reach `target` in the container."""

    host: str
    published: int
    target: int
    protocol: str


class Container(Struct, frozen=True, kw_only=True):
    """`id`: all 64 digits, as in Event; `state`: created, running, paused, restarting, removing, exited or dead; `health`:
    starting, healthy, unhealthy, "" for none. `exit_code` is 0 while it runs."""

    id: str
    name: str
    service: str
    image: str
    state: str
    health: str
    exit_code: int
    ports: tuple[Port, ...]


class LogLine(Struct, frozen=True):
    """`container`: its name without the project's, such as `web-1`; `time`: RFC 3339 with nanoseconds, in UTC; `text`
    without the newline."""

    container: str
    time: str
    text: str


class Event(Struct, frozen=True, kw_only=True):
    """What happened to a container: `action` is Docker's word (create, start, die …), `id` the container's."""

    time: str
    action: str
    id: str
    service: str
    attributes: dict[str, str]


class Output(Struct, frozen=True):
    """The output of a program in a container, and its exit code."""

    exit_code: int
    stdout: bytes
    stderr: bytes
