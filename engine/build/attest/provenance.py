"""The provenance of an image, as SLSA's predicate (slsa.dev/provenance), filled as BuildKit documents it ("SLSA definitions")."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import msgspec

from engine.build.attest.facts import Facts
from engine.build.attest.options import Provenance
from engine.image import platform
from engine.image.attached import Attestation
from engine.image.config import rfc3339

V02, V1 = "https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1"
_LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar"}
_TYPE_V02 = "https://mobyproject.org/buildkit@v1"
_TYPE_V1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"


def attest(options: Provenance, facts: Facts) -> Attestation:
    predicate = _v02(options, facts) if options.version == "v0.2" else _v1(options, facts)
    return Attestation(V02 if options.version == "v0.2" else V1, msgspec.Raw(msgspec.json.encode(predicate)))


def _source(facts: Facts) -> dict[str, Any]:
    if not facts.context:
        return {}
    return {"uri": facts.context, "digest": dict(facts.materials.get(facts.context, {}))}


def _request(options: Provenance, facts: Facts) -> dict[str, Any]:
    """What the user asked for. Arguments may be confidential: they are part of `max` only."""
    spec = facts.spec
    found: dict[str, Any] = {"frontend": "dockerfile.v0"}
    if options.full:
        args = {f"build-arg:{name}": value for name, value in sorted(facts.args.items())}
        args |= {f"label:{name}": value for name, value in sorted(spec.labels.items())}
        args |= {"target": spec.target} if spec.target else {}
        args |= {"no-cache": ""} if spec.no_cache else {}
        args |= {f"context:{name}": value for name, value in sorted(spec.additional_contexts.items()) if ":/" in value}
        found["args"] = args
        found["secrets"] = [{"id": secret.id, "optional": True} for secret in spec.secrets]
        found["ssh"] = [{"id": one.partition("=")[0] or "default", "optional": True} for one in spec.ssh]
    if not facts.context:
        found["locals"] = [{"name": "context"}, {"name": "dockerfile"}]
    return {key: value for key, value in found.items() if value}


def _materials(facts: Facts) -> list[dict[str, Any]]:
    return [{"uri": uri, "digest": dict(digest)} for uri, digest in sorted(facts.materials.items())]


def _notes(options: Provenance, facts: Facts) -> dict[str, Any]:
    """The Dockerfile, and the layers that the image has."""
    if not options.full:
        return {}
    text = base64.b64encode(facts.dockerfile_text.encode("utf-8", "surrogateescape")).decode()
    return {
        "source": {"infos": [{"filename": facts.dockerfile, "language": "Dockerfile", "data": text}]},
        "layers": {f"step{number}:0": [[{**_LAYER, "digest": digest}]] for number, digest in enumerate(facts.layers)},
    }


def _v02(options: Provenance, facts: Facts) -> dict[str, Any]:
    local = not facts.context
    notes = _notes(options, facts)
    return {
        "builder": {"id": options.builder},
        "buildType": _TYPE_V02,
        "materials": _materials(facts),
        "invocation": {
            "configSource": {**_source(facts), "entryPoint": facts.dockerfile},
            "parameters": _request(options, facts),
            "environment": {"platform": str(platform.host())},
        },
        **({"buildConfig": {"steps": facts.steps}} if options.full else {}),
        "metadata": {
            "buildInvocationID": secrets.token_hex(16),
            "buildStartedOn": rfc3339(facts.started),
            "buildFinishedOn": rfc3339(facts.ended),
            "completeness": {"parameters": options.full, "environment": True, "materials": not local},
            "reproducible": options.reproducible,
            **({f"{_TYPE_V02}#metadata": notes} if notes else {}),
        },
    }


def _v1(options: Provenance, facts: Facts) -> dict[str, Any]:
    local = not facts.context
    notes = _notes(options, facts)
    return {
        "buildDefinition": {
            "buildType": _TYPE_V1,
            "externalParameters": {
                "configSource": {**_source(facts), "path": facts.dockerfile},
                "request": _request(options, facts),
            },
            "internalParameters": {
                "builderPlatform": str(platform.host()),
                **({"buildConfig": {"steps": facts.steps}} if options.full else {}),
            },
            "resolvedDependencies": _materials(facts),
        },
        "runDetails": {
            "builder": {"id": options.builder},
            "metadata": {
                "invocationId": secrets.token_hex(16),
                "startedOn": rfc3339(facts.started),
                "finishedOn": rfc3339(facts.ended),
                "buildkit_reproducible": options.reproducible,
                "buildkit_completeness": {"request": options.full, "resolvedDependencies": not local},
                **({"buildkit_metadata": notes} if notes else {}),
            },
        },
    }
