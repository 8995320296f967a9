"""The caches that a build imports and exports, as entries of cache_from and cache_to.

A client has caches of type local itself, and offers them as a content store over its session, which is not supported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from composer.serve.buildkit import wire
from composer.serve.buildkit.grpc import INVALID, UNIMPLEMENTED, Failed


def cache_exports(payload: wire.Fields) -> list[str]:
    """Those of a SolveRequest (CacheOptions, Exports). Raises Failed."""
    entries = [one for data in wire.blocks(payload, 8) for one in wire.blocks(wire.fields(data), 4)]
    return [_entry(wire.text(one, 1), wire.strings(one, 2)) for one in map(wire.fields, entries)]


def cache_imports(options: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the frontend's option `cache-imports`, JSON; older clients name references in `cache-from`. Raises Failed."""
    found = [name for name in options.get("cache-from", "").split(",") if name]
    try:
        entries = _decode_imports(options.get("cache-imports", "") or "[]")
    except msgspec.DecodeError as error:
        raise Failed(INVALID, f"invalid cache-imports: {error}") from None
    return (*found, *(_entry(one.type, one.attributes) for one in entries))


class _Import(msgspec.Struct):
    type: str = msgspec.field(name="Type")
    attributes: dict[str, str] = msgspec.field(name="Attrs", default_factory=dict)


_decode_imports = msgspec.json.Decoder(list[_Import]).decode


def _entry(kind: str, attributes: Mapping[str, str]) -> str:
    if kind == "local":
        raise Failed(UNIMPLEMENTED, "caches of type=local are not supported here: use registry or inline")
    return ",".join((f"type={kind}", *_words(attributes)))


def _words(attributes: Mapping[str, str]) -> Iterable[str]:
    for name, value in sorted(attributes.items()):
        word = f"{name}={value}"
        yield f'"{word.replace(chr(34), chr(34) * 2)}"' if set(word) & set(',"') else word
