"""Records of past builds for buildx: its `history` commands, and the provenance in `--metadata-file` (moby/buildkit,
api/services/control, BuildHistoryRecord; containerd, services/content).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from anyio import to_thread
from msgspec import Raw

from composer.serve.buildkit import wire
from composer.serve.buildkit.grpc import NOT_FOUND, UNIMPLEMENTED, Call, Failed
from composer.serve.buildkit.status import Progress, stamp
from engine.vocabulary import PREDICATE_TYPE, STATEMENT_TYPE

if TYPE_CHECKING:
    from composer.serve.server import Server
    from engine.spec.build_record import BuildRecord

_COMPLETE, _DELETED = 1, 2
_CONFIG = "application/vnd.oci.image.config.v1+json"
_PREDICATE = "https://slsa.dev/provenance/v0.2"
_PIECE = 1 << 20
_UNKNOWN = 2
"""google.rpc.Code"""


def _records(server: Server) -> list[BuildRecord]:
    return server.open_engine().build_records()


async def listen(server: Server, call: Call, payload: wire.Fields) -> None:
    """The records, the oldest first; all calls end at once, because builds are recorded at their end."""
    ref, limit = wire.text(payload, 2), wire.number(payload, 5)
    if any(wire.blocks(payload, 4)):
        raise Failed(UNIMPLEMENTED, "filters are not supported here")
    if wire.number(payload, 1):
        return
    found = [one for one in await to_thread.run_sync(lambda: _records(server)) if not ref or one.ref == ref]
    if ref and not found:
        raise Failed(NOT_FOUND, f"no record found for ref {ref}")
    for record in reversed(found[:limit] if limit else found):
        await call.send(wire.message((1, _COMPLETE), (2, _record(record))))


def events(server: Server, ref: str) -> list[bytes]:
    """The progress of a past build, empty without a record of it."""
    progress = Progress(ref)
    for event in server.open_engine().build_events(ref):
        progress.take(event)
    return progress.messages


def _record(record: BuildRecord) -> bytes:
    error = wire.message((1, _UNKNOWN), (2, record.error)) if record.error else None
    return b"".join((
        wire.message((1, record.ref), (2, "dockerfile.v0")),
        wire.mapping(3, _attributes(record)),
        wire.block(4, wire.message((1, "moby")) + wire.mapping(2, {"name": ",".join(record.tags)})),
        wire.message((5, error), (6, stamp(record.started)), (7, stamp(record.ended))),
        wire.mapping(9, {"containerimage.digest": record.image} if record.image else {}),
        wire.block(10, _result(record, *record.provenance.values())),
        b"".join(
            wire.block(11, wire.message((1, name), (2, _result(record, record.provenance[name]))))
            for name in record.provenance
            if len(record.provenance) > 1
        ),
        wire.message(
            (12, 1), (15, record.cached), (16, record.steps), (17, record.completed), (19, record.warnings)
        ),
    ))  # fmt: skip


def _attributes(record: BuildRecord) -> dict[str, str]:
    """The options of the frontend."""
    found = {f"build-arg:{name}": value or "" for name, value in record.args.items()}
    found |= {f"label:{name}": value for name, value in record.labels.items()}
    found["filename"] = record.dockerfile or "Dockerfile"
    if "://" in record.context:
        found["context"] = record.context
    for key, value in (("target", record.target), ("platform", ",".join(record.platforms))):
        if value:
            found[key] = value
    if record.no_cache:
        found["no-cache"] = ""
    return found


def _result(record: BuildRecord, *predicates: Raw) -> bytes:
    """A BuildResultInfo: the image, and its provenance for each platform."""
    statements = b"".join(
        wire.block(2, _descriptor(STATEMENT_TYPE, bytes(one)) + wire.mapping(5, {PREDICATE_TYPE: _PREDICATE}))
        for one in predicates
    )
    image = wire.message((1, _CONFIG), (2, record.image)) if record.image else b""
    return statements + (wire.block(3, wire.message((2, image))) if image else b"")


def _descriptor(kind: str, data: bytes) -> bytes:
    return wire.message((1, kind), (2, _digest(data)), (3, len(data)))


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def update(server: Server, call: Call, payload: wire.Fields) -> None:
    """Delete a record. Pinning is not supported; finalizing is done."""
    ref = wire.text(payload, 1)
    if wire.number(payload, 2):
        raise Failed(UNIMPLEMENTED, "builds cannot be pinned here")
    if all(one.ref != ref for one in await to_thread.run_sync(lambda: _records(server))):
        raise Failed(NOT_FOUND, f"no record found for ref {ref}")
    if wire.number(payload, 3):
        await to_thread.run_sync(lambda: server.open_engine().forget_build(ref))
    await call.send(b"")


async def _blob(server: Server, digest: str) -> bytes:
    """A provenance by its digest. Failed."""

    def find() -> bytes | None:
        every = (bytes(raw) for record in _records(server) for raw in record.provenance.values())
        return next((data for data in every if _digest(data) == digest), None)

    data = await to_thread.run_sync(find)
    if data is None:
        raise Failed(NOT_FOUND, f"content {digest}: not found")
    return data


async def content_info(server: Server, call: Call, payload: wire.Fields) -> None:
    digest = wire.text(payload, 1)
    await call.send(wire.block(1, wire.message((1, digest), (2, len(await _blob(server, digest))))))


async def content_read(server: Server, call: Call, payload: wire.Fields) -> None:
    """The content from an offset, in pieces."""
    data = await _blob(server, wire.text(payload, 1))
    start, size = wire.number(payload, 2), wire.number(payload, 3)
    end = min(len(data), start + size) if size else len(data)
    for at in range(start, end, _PIECE):
        await call.send(wire.message((1, at), (2, data[at : min(at + _PIECE, end)])))
