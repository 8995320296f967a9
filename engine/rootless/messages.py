"""The messages of main.py, one type each. Types only, loaded by type checkers alone."""

from typing import TypedDict


class Plain(TypedDict):
    """join, version: nothing besides "do"."""


class Spawn(TypedDict):
    argv: list[str]
    env: dict[str, str]


class Bind(TypedDict):
    """What socket(2) and bind(2) are given."""

    family: int
    kind: int
    protocol: int
    address: str
    port: int


class Joined(TypedDict):
    """With descriptors of the user, the mount and the network namespace."""

    cgroup: str
    """The folder that was delegated, "" for none."""
    resolv_conf: str


class Spawned(TypedDict):
    pid: int


class Version(TypedDict):
    no_network: str
    """Why containers have no network outside, "" when they have."""
