"""Instructions that change only the image's configuration: functions that return the new configuration and a line of
history."""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from engine.build import history
from engine.build import instructions as ins
from engine.build.words import expand_words
from engine.image.config import environment
from engine.spec.container import Healthcheck
from engine.spec.image import ImageConfig
from engine.vocabulary import IP_PROTOCOLS

DEFAULT_SHELL = ("/bin/sh", "-c")
Expand = Callable[[str], str]


def apply(
    config: ImageConfig, instruction: ins.AnyInstruction, expand: Expand, values: Mapping[str, str], escape: str
) -> tuple[ImageConfig, str]:
    """The configuration after `instruction`, and the line of history, "" for none.

    Raises ValueError for an invalid instruction.
    """
    if isinstance(instruction, ins.Env):
        pairs = [(expand(name), expand(value)) for name, value in instruction.pairs]
        return set_environment(config, pairs), history.pairs("ENV", pairs)
    if isinstance(instruction, ins.Label):
        pairs = [(expand(name), expand(value)) for name, value in instruction.pairs]
        return replace(config, labels={**config.labels, **dict(pairs)}), history.pairs("LABEL", pairs)
    if isinstance(instruction, ins.User):
        user = expand(instruction.user)
        return replace(config, user=user), f"USER {user}"
    if isinstance(instruction, ins.Workdir):
        path = expand(instruction.path)
        # An absolute path stays as it is written.
        path = path if path.startswith("/") else working_dir(config, path)
        return replace(config, working_dir=path), f"WORKDIR {path}"
    if isinstance(instruction, ins.Expose):
        words = [port for text in instruction.ports for port in expand_words(text, values, escape)]
        found = [port for word in words for port in ports(word)]
        exposed = tuple(sorted({*config.exposed_ports, *found}))
        return replace(config, exposed_ports=exposed), history.listed("EXPOSE", found)
    if isinstance(instruction, ins.Volume):
        paths = [expand(path) for path in instruction.paths]
        if "" in paths:
            raise ValueError("VOLUME specified can not be an empty string")
        return replace(config, volumes=tuple(sorted({*config.volumes, *paths}))), history.listed("VOLUME", paths)
    return _process(config, instruction, expand)


def _process(config: ImageConfig, instruction: ins.AnyInstruction, expand: Expand) -> tuple[ImageConfig, str]:
    """The instructions about the container's process."""
    if isinstance(instruction, ins.Cmd):
        args = command_line(config, instruction.command)
        return replace(config, command=args), history.command("CMD", args)
    if isinstance(instruction, ins.Entrypoint):
        args = command_line(config, instruction.command)
        return replace(config, entrypoint=args), history.command("ENTRYPOINT", args)
    if isinstance(instruction, ins.Shell):
        return replace(config, shell=instruction.args), history.listed("SHELL", instruction.args)
    if isinstance(instruction, ins.Stopsignal):
        name = stop_signal(expand(instruction.signal))
        return replace(config, stop_signal=name), f"STOPSIGNAL {name}"
    if isinstance(instruction, ins.Healthcheck):
        found = healthcheck(instruction)
        return replace(config, healthcheck=found), history.healthcheck(found)
    if isinstance(instruction, ins.Onbuild):
        return replace(config, on_build=(*config.on_build, instruction.instruction)), ""
    if isinstance(instruction, ins.Maintainer):
        return config, f"MAINTAINER {instruction.name}"
    return config, ""


def set_environment(config: ImageConfig, pairs: list[tuple[str, str]]) -> ImageConfig:
    """Later values replace earlier ones in their place."""
    values = {**environment(config.environment), **dict(pairs)}
    return replace(config, environment=tuple(f"{name}={value}" for name, value in values.items()))


def working_dir(config: ImageConfig, path: str) -> str:
    """`path` as an absolute one without "." and "..": relative ones begin at WORKDIR, which "" is itself."""
    return "/" + posixpath.normpath(posixpath.join("/", config.working_dir or "/", path)).strip("/")


def command_line(config: ImageConfig, command: ins.Command) -> tuple[str, ...]:
    """The argument list: a shell form gets the shell in front."""
    if not command.shell:
        return command.args
    return (*(config.shell or DEFAULT_SHELL), " ".join(command.args))


def ports(text: str) -> list[str]:
    """`80`, `80/udp`, `8000-8010`, `[ip:]8080:80` as port/protocol entries; a host's part is checked and dropped."""
    *ip, host, container = ("", *text.rsplit(":", 2))[-3:] if ":" in text else ("", "", text)
    port, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if not port:
        raise ValueError(f"invalid port: {text!r}: no port specified")
    if protocol not in IP_PROTOCOLS:
        raise ValueError(f"invalid port: {text!r}: invalid proto: {protocol}")
    if address := "".join(ip):
        import ipaddress  # late: few addresses are given, and it takes a millisecond

        try:
            ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise ValueError(f"invalid port: {text!r}: invalid IP address: {address}") from None
    first, last = _range(port, "containerPort")
    if host:
        low, high = _range(host, "hostPort")
        if high - low != last - first != 0:
            raise ValueError(f"invalid ranges specified for container and host Ports: {port} and {host}")
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def _range(text: str, subject: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    if not match:
        raise ValueError(f"invalid {subject}: {text}")
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last <= 65535:
        raise ValueError(f"invalid {subject}: {text}")
    return first, last


def stop_signal(text: str) -> str:
    """A signal's name or number, checked."""
    name = text.upper().removeprefix("SIG")
    known = (text.isdecimal() and int(text) > 0) or f"SIG{name}" in signal.Signals.__members__
    if not known and not re.fullmatch(r"RT(MIN(\+\d+)?|MAX(-\d+)?)", name):
        raise ValueError(f"invalid signal: {text}")
    return text


def healthcheck(instruction: ins.Healthcheck) -> Healthcheck:
    command = instruction.command
    if command is None:
        return Healthcheck(test=("NONE",))
    return Healthcheck(
        test=("CMD-SHELL" if command.shell else "CMD", *command.args),
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )
