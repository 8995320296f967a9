"""The attestations of a build, from its specification and the steps that it executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import structs

from engine.build import annotation
from engine.build.attest import options, provenance, sbom
from engine.build.attest.facts import facts
from engine.build.sources import IMAGE_SCHEME
from engine.image.attached import Attached, Attestation
from engine.vocabulary import TRUE_WORDS

if TYPE_CHECKING:
    from engine.build.stage import Build
    from engine.build.stages import Stage
    from engine.image.platform import Platform
    from engine.spec.image import BuildSpec, ImageRecord

_STAGE, _CONTEXT = "BUILDKIT_SBOM_SCAN_STAGE", "BUILDKIT_SBOM_SCAN_CONTEXT"


def check(spec: BuildSpec) -> None:
    """Raises BuildFailed for wrong options."""
    options.provenance(spec.provenance)
    options.sbom(spec.sbom)


def attached(
    build: Build,
    target: Stage,
    platform: Platform,
    record: ImageRecord,
    started: float,
    nested: Callable[[BuildSpec], ImageRecord],
) -> Attached:
    """Annotations, and attestations of the image `record` that the stage `target` produced. `nested` builds other
    images. Raises BuildFailed."""
    spec = build.spec
    found = annotation.attached(spec.annotations, platform)
    statements: list[Attestation] = []
    scan = options.sbom(spec.sbom)
    if scan is not None:
        step = build.reporter.step("internal", f"generating sbom using {scan.generator}")
        extras = _extras(build, target)
        statements += sbom.attest(scan, spec, build.images, record, extras, nested)
        step.done()
    how = options.provenance(spec.provenance)
    if how is not None:
        statements.append(provenance.attest(how, facts(build, target, platform, started)))
    return structs.replace(found, attestations=tuple(statements))


def _extras(build: Build, target: Stage) -> dict[str, str]:
    """Other trees to scan: stages and the context that an ARG selects."""
    found = {}
    scans_context = False
    for index, state in build.states.items():
        arguments = dict(state.declared)
        scans_context = scans_context or _is_true(build.build_args, arguments, _CONTEXT)
        if index == target.index or not _is_true(build.build_args, arguments, _STAGE):
            continue
        layers = [layer.diff_id for layer in build.images.layers.need(state.chain)]
        image = build.images.record(state.file(layers, {}), state.chain)
        stage = build.dockerfile.stages[index]
        found[f"sbom-{stage.name or index}"] = f"{IMAGE_SCHEME}{image.id}"
    if scans_context:
        found["sbom-context"] = build.spec.context
    return found


def _is_true(given: Mapping[str, str], arguments: Mapping[str, str | None], name: str) -> bool:
    return (given.get(name) or arguments.get(name) or "").lower() in TRUE_WORDS
