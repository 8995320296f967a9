"""An entry of cache_from or cache_to: `type=registry,ref=host/app:cache,mode=max`, or only a reference."""

from __future__ import annotations

import csv

from msgspec import Struct

from engine.errors import BuildFailed
from engine.vocabulary import TRUE_WORDS

_OPTIONS = {
    ("registry", False): ("ref",),
    ("local", False): ("src", "tag", "digest"),
    ("registry", True): ("ref", "mode", "oci-mediatypes", "image-manifest", "compression", "ignore-error"),
    ("local", True): ("dest", "tag", "mode", "oci-mediatypes", "image-manifest", "compression", "ignore-error"),
    ("inline", True): ("mode",),
}


class Entry(Struct, frozen=True, kw_only=True):
    """`place` is the reference or the directory; `full`: all steps, not only those of the image."""

    text: str
    type: str
    place: str = ""
    tag: str = "latest"
    digest: str = ""
    full: bool = False
    compression: str = "gzip"
    ignores_errors: bool = False


def parse(text: str, *, export: bool) -> Entry:
    """Raises BuildFailed for entries that BuildKit refuses, and for unsupported ones."""
    name = "cache_to" if export else "cache_from"
    words = next(csv.reader([text]), [])
    if len(words) == 1 and "=" not in words[0]:
        return Entry(text=text, type="registry", place=words[0])
    options: dict[str, str] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise BuildFailed(f"{name}: invalid value {word!r}: expected KEY=VALUE")
        options[key.strip().lower()] = value
    kind = options.pop("type", "")
    known = _OPTIONS.get((kind, export))
    if known is None:
        kinds = ", ".join(one for one, direction in _OPTIONS if direction is export)
        raise BuildFailed(f"{name}: type {kind or 'is missing'!r} is not supported: {kinds}")
    for key in options:
        if key not in known:
            raise BuildFailed(f"{name}: the option {key!r} is not supported for type={kind}")
    _check_values(name, options)
    place = options.get("ref") or options.get("dest") or options.get("src", "")
    if not place and kind != "inline":
        raise BuildFailed(f"{name}: type={kind} needs {known[0]}")
    return Entry(
        text=text,
        type=kind,
        place=place,
        tag=options.get("tag", "latest"),
        digest=options.get("digest", ""),
        full=options.get("mode") == "max",
        compression=options.get("compression", "gzip"),
        ignores_errors=options.get("ignore-error", "").lower() in TRUE_WORDS,
    )


def _check_values(name: str, options: dict[str, str]) -> None:
    if options.get("mode", "min") not in ("min", "max"):
        raise BuildFailed(f"{name}: mode must be min or max, not {options['mode']!r}")
    for key in ("oci-mediatypes", "image-manifest"):
        if options.get(key, "true").lower() not in TRUE_WORDS:
            raise BuildFailed(f"{name}: {key}={options[key]} is not supported: caches are OCI image manifests")
    if options.get("compression", "gzip") not in ("gzip", "zstd"):
        raise BuildFailed(f"{name}: compression={options['compression']} is not supported: gzip, zstd")
