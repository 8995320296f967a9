"""Instructions that change only the image's configuration, as pure functions of it."""

from __future__ import annotations

import posixpath
import re
import signal
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from engine.build import instructions as ins
from engine.build.words import expand_words
from engine.image.config import environment
from engine.spec.container import Healthcheck
from engine.spec.image import ImageConfig

DEFAULT_SHELL = ("/bin/sh", "-c")
Expand = Callable[[str], str]
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?\Z", re.IGNORECASE)


def apply(
    config: ImageConfig, instruction: ins.AnyInstruction, expand: Expand, values: Mapping[str, str], escape: str
) -> ImageConfig:
    """The configuration after `instruction`. Raises ValueError for what does not make sense."""
    if isinstance(instruction, ins.Env):
        return set_environment(config, [(expand(name), expand(value)) for name, value in instruction.pairs])
    if isinstance(instruction, ins.Label):
        return replace(
            config, labels={**config.labels, **{expand(name): expand(value) for name, value in instruction.pairs}}
        )
    if isinstance(instruction, ins.User):
        return replace(config, user=expand(instruction.user))
    if isinstance(instruction, ins.Workdir):
        return replace(config, working_dir=working_dir(config, expand(instruction.path)))
    if isinstance(instruction, ins.Expose):
        words = [port for text in instruction.ports for port in expand_words(text, values, escape)]
        return replace(
            config, exposed_ports=tuple(sorted({*config.exposed_ports, *(p for w in words for p in ports(w))}))
        )
    if isinstance(instruction, ins.Volume):
        return replace(config, volumes=tuple(sorted({*config.volumes, *map(expand, instruction.paths)})))
    if isinstance(instruction, ins.Cmd):
        return replace(config, command=command_line(config, instruction.command))
    if isinstance(instruction, ins.Entrypoint):
        # A new entrypoint resets the command that the base image had.
        return replace(config, entrypoint=command_line(config, instruction.command))
    if isinstance(instruction, ins.Shell):
        return replace(config, shell=instruction.args)
    if isinstance(instruction, ins.Stopsignal):
        return replace(config, stop_signal=stop_signal(expand(instruction.signal)))
    if isinstance(instruction, ins.Healthcheck):
        return replace(config, healthcheck=healthcheck(instruction))
    if isinstance(instruction, ins.Onbuild):
        return replace(config, on_build=(*config.on_build, instruction.instruction))
    return config


def set_environment(config: ImageConfig, pairs: list[tuple[str, str]]) -> ImageConfig:
    """Later values replace earlier ones in their place."""
    values = {**environment(config.environment), **dict(pairs)}
    return replace(config, environment=tuple(f"{name}={value}" for name, value in values.items()))


def working_dir(config: ImageConfig, path: str) -> str:
    """WORKDIR's path, relative ones to the present one."""
    if not path:
        raise ValueError("WORKDIR is empty after expansion")
    return "/" + posixpath.normpath(posixpath.join("/", config.working_dir or "/", path)).strip("/")


def command_line(config: ImageConfig, command: ins.Command) -> tuple[str, ...]:
    """The argument list: a shell form gets the shell in front."""
    return (*(config.shell or DEFAULT_SHELL), *command.args) if command.shell else command.args


def ports(text: str) -> list[str]:
    """`80`, `80/udp`, `8000-8010` as port/protocol entries."""
    match = _PORT.match(text)
    if not match or not 0 < int(match[1]) <= int(match[2] or match[1]) <= 65535:
        raise ValueError(f"invalid containerPort: {text}")
    protocol = (match[3] or "tcp").lower()
    return [f"{port}/{protocol}" for port in range(int(match[1]), int(match[2] or match[1]) + 1)]


def stop_signal(text: str) -> str:
    """A signal's name or number, checked."""
    name = text.upper().removeprefix("SIG")
    known = (text.isdecimal() and 1 <= int(text) <= 64) or f"SIG{name}" in signal.Signals.__members__
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
