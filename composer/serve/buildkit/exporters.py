"""The exporters of a Solve: where its result goes (moby/buildkit, docs: "Exporters").

moby, image      the engine's store, and a registry with push=true
docker, oci      an archive for the client
local, tar       the image's files for the client
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from composer.serve.buildkit import wire
from composer.serve.buildkit.grpc import INVALID, UNIMPLEMENTED, Failed
from composer.view.images import spelled_out
from engine.spec.image import SavedImage
from engine.vocabulary import TRUE_WORDS

if TYPE_CHECKING:
    from composer.run.port import Engine
    from engine.spec.image import ImageRecord

_STORED = ("moby", "image")
ARCHIVES = ("docker", "oci")
FILES = ("local", "tar")
_ANNOTATION = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([\w/-]+)\])?\.(.+)")
_COMPRESSIONS = {"": "", "uncompressed": "", "gzip": "gzip", "zstd": "zstd"}
_REFUSED = {"push-by-digest": "push the image by a tag", "rewrite-timestamp": "set SOURCE_DATE_EPOCH"}


class Exporter(Struct, frozen=True, kw_only=True):
    """One exporter, `number` for the client. `compression`: of new layers in archives and registries."""

    number: int
    kind: str
    names: tuple[str, ...] = ()
    pushes: bool = False
    compression: str = ""
    annotations: tuple[tuple[str, str], ...] = ()

    @property
    def stores(self) -> bool:
        return self.kind in _STORED

    @property
    def sends_files(self) -> bool:
        """Whether the client gets single files instead of one archive."""
        return self.kind == "local"

    def write(self, engine: Engine, record: ImageRecord, output: int) -> None:
        """Write what the client gets as a tar archive to a descriptor. Raises Failed."""
        if self.kind in FILES and record.others:
            raise Failed(UNIMPLEMENTED, f"exporter {self.kind!r} is not supported here for several platforms: name one")
        if self.kind in FILES:
            engine.export_image(record.id, output)
            return
        names = tuple(spelled_out(name, record) for name in self.names)
        saved = SavedImage(id=record.id, tags=names, variants=record.others)
        engine.save_images([saved], output, docker=self.kind == "docker", compression=self.compression)


def exporters_of(payload: wire.Fields) -> list[Exporter]:
    """The exporters of a SolveRequest. Raises Failed for unsupported ones and their options."""
    found = [(wire.text(one, 1), wire.strings(one, 2)) for one in map(wire.fields, wire.blocks(payload, 13))]
    if not found and (kind := wire.text(payload, 3)):
        found = [(kind, wire.strings(payload, 4))]
    return [_exporter(number, kind, options) for number, (kind, options) in enumerate(found)]


def _exporter(number: int, kind: str, options: Mapping[str, str]) -> Exporter:
    if kind not in (*_STORED, *ARCHIVES, *FILES):
        raise Failed(UNIMPLEMENTED, f"exporter {kind!r} is not supported here")
    for name, instead in _REFUSED.items():
        if _truth(options, name):
            raise Failed(UNIMPLEMENTED, f"{name} is not supported here: {instead}")
    if kind in ARCHIVES and not _truth(options, "tar", default=True):
        raise Failed(UNIMPLEMENTED, f"tar=false is not supported here for the exporter {kind}: unpack the archive")
    compression = options.get("compression", "")
    if compression not in _COMPRESSIONS:
        raise Failed(INVALID, f"unsupported compression {compression!r}: {', '.join(filter(None, _COMPRESSIONS))}")
    names = tuple(name for name in options.get("name", "").split(",") if name)
    pushes = kind in _STORED and _truth(options, "push")
    if pushes and not names:
        raise Failed(INVALID, "tag is needed when pushing to registry")
    return Exporter(
        number=number,
        kind=kind,
        names=names,
        pushes=pushes,
        compression=_COMPRESSIONS[compression],
        annotations=tuple(_annotations(options)),
    )


def _truth(options: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    return options[name].lower() in TRUE_WORDS if name in options else default


def _annotations(options: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """annotation[-TYPE][[PLATFORM]].KEY, as the flag has them: TYPE[PLATFORM]:KEY."""
    for name, value in options.items():
        if found := _ANNOTATION.fullmatch(name):
            kind, platform, key = found.groups()
            place = f"{kind or 'manifest'}[{platform}]:" if platform else f"{kind}:" if kind else ""
            yield place + key, value
