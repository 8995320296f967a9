"""Dockerfile instructions applied to a finished image's configuration (`commit --change`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.build import metadata
from engine.build.lex import lex
from engine.build.parse import parse
from engine.build.words import expand
from engine.errors import BuildFailed
from engine.image.config import environment
from engine.spec.image import ImageConfig

_ALLOWED = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip


def amend(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """`config` after the instructions. Raises BuildFailed for an invalid instruction, or one that changes more than the
    configuration."""
    for change in changes:
        source = lex(change, "--change")
        for line in source.lines:
            if line.keyword not in _ALLOWED:
                raise source.error(
                    line.start, f"{line.keyword} cannot be a change", hint=f"One of {', '.join(_ALLOWED)}."
                )
        for instruction in parse(source):
            values: Mapping[str, str] = environment(config.environment)

            def expanded(text: str, values: Mapping[str, str] = values, escape: str = source.escape) -> str:
                return expand(text, values, escape)

            try:
                config, _ = metadata.apply(config, instruction, expanded, values, source.escape)
            except ValueError as error:
                raise BuildFailed(f"--change {change!r}: {error}") from error
    return config
