"""The messages of main.py, one type each. Types only, loaded only by type checkers."""

from typing import TypedDict


class Plain(TypedDict):
    """join, version: no fields besides "do"."""


class Spawn(TypedDict):
    argv: list[str]
    env: dict[str, str]


class Bind(TypedDict):
    """The arguments of socket(2) and bind(2)."""

    family: int
    kind: int
    protocol: int
    address: str
    port: int


class Joined(TypedDict):
    """With descriptors of the user, mount and network namespaces."""

    cgroup: str
    """The delegated cgroup's directory, "" for none."""
    resolv_conf: str


class Spawned(TypedDict):
    pid: int


class Version(TypedDict):
    no_network: str
    """Why containers cannot reach other networks, "" if they can."""
