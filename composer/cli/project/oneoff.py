"""The container of `composer run`: a service's specification, changed by the flags. compose-spec does not cover it; docker
compose's behaviour is the model."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
import msgspec

from composer.cli.commands.exec import environment
from composer.cli.errors import UsageError
from composer.plan.labels import NUMBER, ONEOFF, SLUG
from composer.plan.naming import NAME
from engine.spec.container import ContainerSpec, Mount, PortBinding, Restart
from engine.vocabulary import PROPAGATIONS

if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args

MODES: dict[str, dict[str, object]] = {
    "ro": {"read_only": True},
    "rw": {},
    "z": {"selinux": "z"},
    "Z": {"selinux": "Z"},
    "nocopy": {"nocopy": True},
}


def oneoff_spec(
    base: ContainerSpec,
    args: Args,
    *,
    project: str,
    service: str,
    tty: bool,
    volumes: Mapping[str, str],
    environ: Mapping[str, str],
    directory: str,
) -> ContainerSpec:
    """The specification of a one-off container. `volumes`: the project's volumes and their names in the engine; `directory`:
    the base of relative host paths. UsageError for an invalid flag."""
    if args.name and not re.fullmatch(NAME, args.name):
        raise UsageError(f'invalid container name "{args.name}": only [a-zA-Z0-9][a-zA-Z0-9_.-]+ is allowed')
    if args.workdir and not args.workdir.startswith("/"):
        raise UsageError(f'the working directory "{args.workdir}" is invalid: it needs to be an absolute path')
    slug = os.urandom(6).hex()
    changes: dict[str, object] = {
        "name": args.name or f"{project}-{service}-run-{slug}",
        "labels": {**base.labels, **_labels(args.label), ONEOFF: "True", SLUG: slug, NUMBER: "1"},
        "restart": Restart(),
        "tty": tty,
        "stdin_open": bool(args.interactive),
        "stdin_once": bool(args.interactive),
        "environment": {**base.environment, **_environment(args, environ)},
        "ports": (base.ports if args.service_ports else ()) + tuple(p for text in args.publish for p in ports(text)),
        "mounts": _mounts(base.mounts, [volume(text, volumes, directory) for text in args.volume]),
        "cap_add": (*base.cap_add, *args.cap_add),
        "cap_drop": (*base.cap_drop, *args.cap_drop),
    }
    if not args.use_aliases:
        changes["networks"] = tuple(msgspec.structs.replace(network, aliases=(), ipv4_address="", ipv6_address="",
                                                            mac_address="") for network in base.networks)  # fmt: skip
    return msgspec.structs.replace(base, **changes, **_program(args))


def _program(args: Args) -> dict[str, object]:
    """What the flags and arguments change of the program."""
    changes: dict[str, object] = {}
    command = tuple(args.positional[1:])
    if "entrypoint" in args.given:
        changes["entrypoint"] = tuple(shlex.split(args.entrypoint))
    if "entrypoint" in args.given or command:
        changes["command"] = command
    if args.user:
        changes["user"] = args.user
    if args.workdir:
        changes["working_dir"] = args.workdir
    return changes


def _labels(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f'label must be set as KEY=VALUE: "{pair}"')
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def env_files(paths: Sequence[str], environ: Mapping[str, str]) -> dict[str, str | None]:
    """`--env-file` of docker: lines NAME=VALUE taken as they are, NAME for our own value, `#` a comment. UsageError."""
    found: dict[str, str | None] = {}
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.rstrip("\r\n").lstrip() for line in file]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--env-file: {path}: {error}") from None
        found |= environment([line for line in lines if line and not line.startswith("#")], environ)
    return found


def _environment(args: Args, environ: Mapping[str, str]) -> dict[str, str | None]:
    """--env, and --env-from-file: files in the grammar of .env, whose values may name variables of --env and ours."""
    named = environment(args.env, environ)
    if not args.env_from_file:
        return named
    from composer.load.read import dotenv

    lookup = {**environ, **{name: value for name, value in named.items() if value is not None}}
    found: dict[str, str] = {}
    for path in args.env_from_file:
        try:
            dotenv.read(path, found, lookup)
        except OSError as error:
            raise UsageError(f"--env-from-file: {path}: {(error.strerror or str(error)).lower()}") from None
    return {**found, **named}


def _mounts(base: tuple[Mount, ...], more: Sequence[Mount]) -> tuple[Mount, ...]:
    """A mount of the flags replaces the service's mount at the same target."""
    targets = {mount.target for mount in more}
    return (*(mount for mount in base if mount.target not in targets), *more)


def volume(text: str, volumes: Mapping[str, str], directory: str) -> Mount:
    """`TARGET`, `SOURCE:TARGET` or `SOURCE:TARGET:MODE`; a source that looks like a path is a bind mount."""
    source, colon, rest = text.partition(":")
    if not colon:
        source, rest = "", text
    target, _, mode = rest.partition(":")
    if not target.startswith("/"):
        raise UsageError(f'invalid volume "{text}": the path in the container must be absolute')
    options: dict[str, object] = {}
    for word in filter(None, mode.split(",")):
        if word in PROPAGATIONS:
            options["propagation"] = word
        elif word in MODES:
            options.update(MODES[word])
        else:
            raise UsageError(f'invalid volume "{text}": unknown mode {word!r}')
    if source.startswith(("/", ".", "~")):
        path = os.path.normpath(os.path.join(directory, os.path.expanduser(source)))
        return msgspec.convert({"type": "bind", "source": path, "target": target, **options}, Mount)
    return msgspec.convert(
        {"type": "volume", "source": volumes.get(source, source), "target": target, **options}, Mount
    )


def ports(text: str) -> list[PortBinding]:
    """`[[HOST_IP:]HOST:]CONTAINER[/PROTOCOL]`, with ranges of equal length on both sides."""
    head, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise UsageError(f'invalid port "{text}": unknown protocol {protocol!r}')
    rest, _, container = head.rpartition(":")
    ip, _, host = rest.rpartition(":") if not rest.startswith("[") else rest.partition("]:")
    inner = _range(container, text)
    if not host:
        return [PortBinding(container_port=port, protocol=protocol, host_ip=ip.strip("[]")) for port in inner]
    outer = _range(host, text)
    if len(inner) == 1 and len(outer) > 1:
        return [PortBinding(container_port=inner[0], protocol=protocol, host_ip=ip.strip("[]"), host_port=host)]
    if len(inner) != len(outer):
        raise UsageError(f'invalid port "{text}": ranges of different length')
    return [
        PortBinding(container_port=port, protocol=protocol, host_ip=ip.strip("[]"), host_port=str(published))
        for port, published in zip(inner, outer, strict=True)
    ]


def _range(text: str, whole: str) -> range:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise UsageError(f'invalid port "{whole}": {text!r} is not a port')
    low, high = int(first), int(last or first)
    if not 0 < low <= high < 65536:
        raise UsageError(f'invalid port "{whole}": {text!r} is not within 1 to 65535')
    return range(low, high + 1)
