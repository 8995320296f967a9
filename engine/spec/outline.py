"""The outline of a Dockerfile: its stages, and the inputs of a stage."""

from __future__ import annotations

from msgspec import Struct


class Parameter(Struct, frozen=True, kw_only=True):
    """A build argument with its value, a secret or an SSH agent, and the lines that name it first."""

    name: str
    description: str = ""
    value: str = ""
    required: bool = False
    start: int
    end: int


class Outline(Struct, frozen=True, kw_only=True):
    """The inputs of a stage and the stages that it uses, in the order of lines; `text` is the Dockerfile."""

    name: str = ""
    description: str = ""
    args: tuple[Parameter, ...] = ()
    secrets: tuple[Parameter, ...] = ()
    ssh: tuple[Parameter, ...] = ()
    text: str = ""


class Target(Struct, frozen=True, kw_only=True):
    """A stage; `base` and `platform` are as written. A build without a target builds the `default` one."""

    name: str = ""
    default: bool = False
    description: str = ""
    base: str = ""
    platform: str = ""
    start: int
    end: int


class Targets(Struct, frozen=True, kw_only=True):
    """All stages of the Dockerfile `text`."""

    targets: tuple[Target, ...]
    text: str
