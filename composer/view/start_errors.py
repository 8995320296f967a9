"""Errors of a container's start with Docker's messages, from which clients derive their exit code (125, 126, 127)."""

from __future__ import annotations

import re

_WORDS = (
    (
        re.compile(r"no such container: (?P<name>\S+)"),
        r"joining network namespace of container: No such container: \g<name>",
    ),
    (
        re.compile(r"no such network: (?P<name>\S+)"),
        r"failed to set up container networking: network \g<name> not found",
    ),
    (
        re.compile(r"find user (?P<name>.+?): no matching entry in .*"),
        r"unable to find user \g<name>: no matching entries in passwd file",
    ),
    (
        re.compile(r"find group (?P<name>.+?): no matching entry in .*"),
        r"unable to find group \g<name>: no matching entries in group file",
    ),
    (
        re.compile(r"change to the working directory (?P<path>.+): ENOTDIR: .*"),
        r"Cannot mkdir: \g<path> is not a directory",
    ),
)
_PORT = re.compile(r"port (?P<where>.+)/(?:tcp|udp|sctp) is already in use\b.*")


def words(message: str, *, name: str, endpoint: str) -> str:
    """`name` is the container's name, `endpoint` the id of its endpoint."""
    plain = message.partition("\n")[0].removeprefix(f"cannot start container {name}: ")
    if port := _PORT.fullmatch(plain):
        where = port["where"] if ":" in port["where"] else f"0.0.0.0:{port['where']}"
        return (
            "failed to set up container networking: driver failed programming external connectivity on endpoint "
            f"{name} ({endpoint}): Bind for {where} failed: port is already allocated"
        )
    for pattern, docker in _WORDS:
        if found := pattern.fullmatch(plain):
            return found.expand(docker)
    return plain
