"""The facts from which a build's provenance is written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from engine.spec.image import BuildSpec

if TYPE_CHECKING:
    from engine.build.stage import Build
    from engine.build.stages import Stage
    from engine.image.platform import Platform


class Facts(Struct, kw_only=True):
    """What a build knows at its end. `materials`: URI → digests by algorithm; `context` the URI of a remote context, "" for a
    local one; `steps` the cache keys and texts of the steps; times in seconds since the epoch."""

    spec: BuildSpec
    platform: str
    args: Mapping[str, str]
    materials: Mapping[str, Mapping[str, str]]
    context: str
    dockerfile: str
    dockerfile_text: str
    steps: list[dict[str, Any]]
    layers: list[str]
    started: float
    ended: float


def facts(build: Build, target: Stage, platform: Platform, started: float) -> Facts:
    """Those of the image that the stage `target` produced."""
    source = build.dockerfile.source
    chain = build.states[target.index].chain
    steps = [
        {"id": f"step{number}", "digest": f"sha256:{key}", "instruction": record.step}
        for number, (key, record) in enumerate(build.records.items())
    ]
    return Facts(
        spec=build.spec,
        platform=str(platform),
        args=build.build_args,
        materials=build.sources.materials,
        context=build.sources.remote,
        dockerfile=source.name,
        dockerfile_text=source.text,
        steps=steps,
        layers=[layer.diff_id for layer in build.images.layers.need(chain)],
        started=started,
        ended=time.time(),
    )
