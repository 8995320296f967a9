"""What other processes ask of the one that keeps the user's namespace (main.py has the messages)."""

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
"""The folder of the cgroup that was delegated to us, empty when none was; set inside the namespace only."""


def here() -> str:
    """The socket's path when we are inside a user's namespace, else ""."""
    return os.environ.get(VARIABLE, "")


def cgroup() -> str:
    """The delegated cgroup's folder, "" when there is none."""
    return os.environ.get(CGROUP, "")


def join(path: str) -> tuple[Joined, list[int]]:
    """What a process in the namespace has to know, and descriptors of the user, the mount and the network namespace, which are
    the caller's. Raises OSError when no such process listens at `path`, EngineError."""
    answer, descriptors = _ask(path, {"do": "join"})
    return {"cgroup": answer["cgroup"], "resolv_conf": answer["resolv_conf"]}, descriptors


def no_network(path: str) -> str:
    """Why containers have no network outside, "" when they have. Raises as `join`."""
    answer, _ = _ask(path, {"do": "version"})
    return str(answer["no_network"])


def spawn(argv: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]) -> None:
    """Start a process inside the namespace, in our delegated cgroup, with `descriptors` as its 0, 1, 2 …"""
    message: Spawn = {"argv": list(argv), "env": dict(environment)}
    _ask(here(), {"do": "spawn", **message}, descriptors)


def bind(family: int, kind: int, protocol: int, address: str, port: int) -> socket.socket:
    """A socket of the host's network, bound there. Raises OSError as bind(2) does."""
    message: Bind = {"family": family, "kind": kind, "protocol": protocol, "address": address, "port": port}
    _, (fd,) = _ask(here(), {"do": "bind", **message})
    return socket.socket(fileno=fd)


def _ask(path: str, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> tuple[Message, list[int]]:
    """One request and its answer. Raises OSError as the other side met it, EngineError for what it refuses."""
    # With json, which a keeper's launch, just to see where it is, need not await.
    from engine.keeper.protocol import Channel

    channel = Channel(control.connect(path))
    if not control.peer_is_us(channel.sock):
        channel.close()
        raise EngineError(f"{path} belongs to another user", hint="Remove it, or let its owner do so.")
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
