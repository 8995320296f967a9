"""Errors of a container's start with Docker's messages, from which clients derive their exit code (125, 126, 127)."""

from __future__ import annotations

import re
from collections.abc import Iterable

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
    (
        re.compile(r"change to the working directory (?P<path>.+): ENOENT: .*"),
        r'chdir to cwd ("\g<path>") set in config.json failed: no such file or directory',
    ),
    (re.compile(r"execve: argv first element cannot be empty"), 'exec: "": executable file not found in $PATH'),
)
_CREATE_WORDS = (
    (
        re.compile(r"security_opt '(?P<text>.*)': not known; known: .*"),
        r'invalid --security-opt 2: "\g<text>"',
    ),
    (re.compile(r"tmpfs .*: unknown option '(?P<option>.*)'"), r'invalid tmpfs option "\g<option>"'),
    (
        re.compile(r"storage_opt is not supported: .*"),
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    ),
    (
        re.compile(r"log driver \S+: max-size: (?P<what>invalid size: '.*'): expected .*"),
        r"failed to create task for container: failed to initialize logging driver: \g<what>",
    ),
    (
        re.compile(r"find device (?P<path>.+): ENOENT: .*"),
        r'error gathering device information while adding custom device "\g<path>": no such file or directory',
    ),
    (
        re.compile(r"network (?P<name>\S+): address (?P<address>\S+) is in none of its subnets"),
        r"invalid config for network \g<name>: invalid endpoint settings:\n"
        r"no configured subnet or ip-range contain the IP address \g<address>",
    ),
    (
        re.compile(r"network (?P<name>\S+): '(?P<address>.*)' is not a valid address: .*"),
        r"invalid config for network \g<name>: invalid endpoint settings:\n* invalid IPv4 address: \g<address>\n"
        r"* no configured subnet or ip-range contain the IP address \g<address>",
    ),
    (re.compile(r"find the block device (?P<path>.+): ENOENT: .*"), r"stat \g<path>: no such file or directory"),
)
"""Errors that we find when the container is created, some of which Docker finds only at its start."""
_CAPABILITY = re.compile(r"unknown capability '(?P<name>.*)'")
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
    for pattern, docker in (*_WORDS, *_CREATE_WORDS):
        if found := pattern.fullmatch(plain):
            return found.expand(docker)
    return plain


def creation_words(message: str, *, name: str, added: Iterable[str]) -> str:
    """The message for a container that cannot be created; `added` are the capabilities that it adds."""
    plain = message.partition("\n")[0].removeprefix(f"cannot make container {name}: ")
    if wrong := _CAPABILITY.fullmatch(plain):
        field = "CapAdd" if wrong["name"] in added else "CapDrop"
        return f'invalid {field}: unknown capability: "CAP_{wrong["name"].upper().removeprefix("CAP_")}"'
    for pattern, docker in _CREATE_WORDS:
        if found := pattern.fullmatch(plain):
            return found.expand(docker)
    return plain
