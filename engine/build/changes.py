"""Dockerfile instructions applied to a configuration alone (`docker commit --change`, `docker import --change`)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from engine.build import instructions as ins
from engine.build import metadata
from engine.build.lex import lex
from engine.build.parse import parse
from engine.build.words import WordError, expand
from engine.image.config import environment
from engine.spec.image import ImageConfig

_ALLOWED = (
    ins.Cmd,
    ins.Entrypoint,
    ins.Env,
    ins.Expose,
    ins.Healthcheck,
    ins.Label,
    ins.Onbuild,
    ins.Shell,
    ins.Stopsignal,
    ins.User,
    ins.Volume,
    ins.Workdir,
)


def changed(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """`config` after the instructions in `changes`. Raises BuildFailed for others than those about configuration."""
    source = lex("\n".join(changes), "change")
    for instruction in parse(source):
        if not isinstance(instruction, _ALLOWED):
            raise source.error(instruction.start, f"{type(instruction).__name__.upper()} cannot be used as a change")
        values = dict(environment(config.environment))
        replaced = functools.partial(expand, values=values, escape=source.escape)
        try:
            config = metadata.apply(config, instruction, replaced, values, source.escape)
        except (ValueError, WordError) as error:
            raise source.error(instruction.start, str(error)) from error
    return config
