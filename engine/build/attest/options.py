"""What the values of `provenance` and `sbom` mean (docs.docker.com, "Build attestations")."""

from __future__ import annotations

import csv

from msgspec import Struct

from engine.errors import BuildFailed
from engine.vocabulary import TRUE_WORDS

SCANNER = "docker/buildkit-syft-scanner:stable-1"
_FALSE = ("0", "f", "false")


class Provenance(Struct, frozen=True, kw_only=True):
    """`full`: with arguments, secrets' names and the Dockerfile. `version`: of SLSA's predicate."""

    full: bool = True
    version: str = "v1"
    builder: str = ""
    reproducible: bool = False


class Sbom(Struct, frozen=True, kw_only=True):
    """`generator` is an image, or a program on this machine if it is a path. `parameters` are for it."""

    generator: str = SCANNER
    parameters: dict[str, str] = {}


def provenance(text: str) -> Provenance | None:
    """None if it was not requested. Raises BuildFailed."""
    words = _words(text, "provenance")
    if words is None:
        return None
    mode = words.pop("mode", "max")
    version = words.pop("version", "v1")
    if mode not in ("min", "max", "full"):
        raise BuildFailed(f"provenance: invalid mode {mode!r}: min or max")
    if version not in ("v0.2", "v1"):
        raise BuildFailed(f"provenance: invalid version {version!r}: v0.2 or v1")
    found = Provenance(
        full=mode != "min",
        version=version,
        builder=words.pop("builder-id", ""),
        reproducible=_truth("provenance", "reproducible", words.pop("reproducible", "false")),
    )
    # This matters only for images without an index.
    words.pop("inline-only", None)
    if words:
        raise BuildFailed(f"provenance: unknown option {next(iter(words))!r}")
    return found


def sbom(text: str) -> Sbom | None:
    """None if it was not requested. Raises BuildFailed."""
    words = _words(text, "sbom")
    if words is None:
        return None
    return Sbom(generator=words.pop("generator", "") or SCANNER, parameters=words)


def _words(text: str, name: str) -> dict[str, str] | None:
    """The options in `true`, `false`, or CSV; None for no attestation."""
    if not text or text.lower() in _FALSE:
        return None
    if text.lower() in TRUE_WORDS:
        return {}
    found: dict[str, str] = {}
    for word in next(csv.reader([text]), []):
        key, equals, value = word.partition("=")
        if not equals:
            raise BuildFailed(f"{name}: invalid value {word!r}: true, false or KEY=VALUE")
        found[key.strip()] = value
    return None if _truth(name, "disabled", found.pop("disabled", "false")) else found


def _truth(name: str, key: str, value: str) -> bool:
    if value.lower() not in (*TRUE_WORDS, *_FALSE):
        raise BuildFailed(f"{name}: {key} must be true or false, not {value!r}")
    return value.lower() in TRUE_WORDS
