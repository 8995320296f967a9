"""Requests to the process that holds the user's namespace (main.py documents the messages)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine import control
from engine.errors import EngineError, KeeperLost

if TYPE_CHECKING:
    from engine.keeper.protocol import Message
    from engine.rootless.messages import Bind, Joined, Spawn

VARIABLE = "COMPOSER_ROOTLESS"
"""The path of the socket; set in every process inside the namespace."""

CGROUP = "COMPOSER_CGROUP"
"""The directory of the cgroup that was delegated to us, empty if none was; set only inside the namespace."""


def here() -> str:
    """The socket's path if we are inside a user's namespace, else ""."""
    return os.environ.get(VARIABLE, "")


def cgroup() -> str:
    """The delegated cgroup's directory, "" if there is none."""
    return os.environ.get(CGROUP, "")


def join(path: str) -> tuple[Joined, list[int]]:
    """The settings for a process in the namespace, and descriptors of the user, mount and network namespaces, which the
    caller closes. Raises OSError if no such process listens on `path`, EngineError."""
    answer, descriptors = _ask(path, {"do": "join"})
    return {"cgroup": answer["cgroup"], "resolv_conf": answer["resolv_conf"]}, descriptors


def no_network(path: str) -> str:
    """Why containers cannot reach other networks, "" if they can. Raises as `join`."""
    answer, _ = _ask(path, {"do": "version"})
    return str(answer["no_network"])


def spawn(argv: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]) -> None:
    """Start a process inside the namespace, in our delegated cgroup, with `descriptors` as its 0, 1, 2 …"""
    message: Spawn = {"argv": list(argv), "env": dict(environment)}
    _ask(here(), {"do": "spawn", **message}, descriptors)


def bind(family: int, kind: int, protocol: int, address: str, port: int) -> socket.socket:
    """A socket bound in the host's network. Raises OSError as bind(2) does."""
    message: Bind = {"family": family, "kind": kind, "protocol": protocol, "address": address, "port": port}
    _, (fd,) = _ask(here(), {"do": "bind", **message})
    return socket.socket(fileno=fd)


def _ask(path: str, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> tuple[Message, list[int]]:
    """Send a request and return its answer. Raises the other side's OSError, or EngineError for a refused request."""
    # Loads json, which launching a keeper does not need.
    from engine.keeper.protocol import Channel

    channel = Channel(control.connect(path))
    try:
        channel.send(message, tuple(descriptors))
        found = channel.receive()
    finally:
        channel.close()
    if found is None:
        raise KeeperLost("the process that holds your namespace has exited", hint="Run the command again.")
    answer, received = found
    if "error" in answer:
        if answer.get("errno"):
            raise OSError(answer["errno"], answer["error"])
        raise EngineError(answer["error"])
    return answer, received
