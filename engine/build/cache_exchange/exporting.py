"""cache_to: writes the steps of a build and their layers for other machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from engine.build.cache_exchange import document
from engine.build.cache_exchange.document import Cache, Layer, Notes, Record, Result
from engine.build.cache_exchange.entry import Entry
from engine.build.cache_exchange.folder import Folder
from engine.build.progress import Reporter
from engine.errors import EngineError
from engine.image import manifest
from engine.image import reference as references
from engine.image.blobs import digest_of
from engine.image.config import rfc3339
from engine.image.images import ImageStore
from engine.image.layer_blob import Compression, blob_of
from engine.image.usage import CacheRecord
from engine.registry.client import Client

_PARALLEL = 4
_READ = 1 << 20


def export(
    images: ImageStore,
    entries: Sequence[Entry],
    builds: Sequence[tuple[Mapping[str, CacheRecord], Sequence[str]]],
    reporter: Reporter,
) -> None:
    """Write the records of builds, one for each platform, and the layers of their images to each place. Raises the
    first failure, unless the entry ignores errors."""
    for entry in entries:
        if entry.type == "inline":
            continue
        step = reporter.step("internal", f"exporting cache to {entry.place}")
        try:
            found: dict[str, CacheRecord] = {}
            for records, chain in builds:
                found |= records if entry.full else within(records, chain)
            _export(images, entry, found)
        except EngineError as error:
            if not entry.ignores_errors:
                step.failed(error.message)
                raise
            step.warn(f"{entry.place}: {error.message}")
        step.done()


def within(records: Mapping[str, CacheRecord], chain: Sequence[str]) -> dict[str, CacheRecord]:
    """The records whose layers are all part of an image."""
    return {key: one for key, one in records.items() if list(one.layers) == list(chain[: len(one.layers)])}


def inline(records: Mapping[str, CacheRecord], chain: Sequence[str]) -> bytes:
    """The part of an image's configuration: its own records, whose results are indexes of its layers."""
    found = [
        Record(digest=f"sha256:{key}", results=[Result(len(one.layers) - 1, rfc3339(one.created))], step=one.step)
        for key, one in sorted(within(records, chain).items())
        if one.layers
    ]
    return msgspec.json.encode(found)


def _export(images: ImageStore, entry: Entry, records: Mapping[str, CacheRecord]) -> None:
    descriptors, config = _content(images, records, Compression(entry.compression))
    body = msgspec.json.encode(
        manifest.Manifest(
            schema_version=2,
            media_type=manifest.OCI_MANIFEST,
            config=manifest.Descriptor(media_type=document.MEDIA_TYPE, digest=digest_of(config), size=len(config)),
            layers=descriptors,
        )
    )
    digests = [one.digest for one in descriptors]
    if entry.type == "local":
        folder = Folder(entry.place)
        for digest in digests:
            folder.put(digest, images.blobs.path(digest))
        folder.put_bytes(config)
        folder.put_manifest(body, entry.tag)
        return
    reference = references.parse(entry.place)
    client = Client(reference, "pull,push")
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="cache") as pool:
        list(pool.map(lambda digest: _upload(client, digest, images.blobs.path(digest)), digests))
    if not client.has_blob(digest_of(config)):
        client.upload(digest_of(config), len(config), lambda offset: [config[offset:]])
    client.put_manifest(reference.tag, body, manifest.OCI_MANIFEST)


def _content(
    images: ImageStore, records: Mapping[str, CacheRecord], compression: Compression
) -> tuple[list[manifest.Descriptor], bytes]:
    """The layers, each once and after the one below it, and the configuration that refers to them."""
    parents: dict[str, str] = {}
    for record in sorted(records.values(), key=lambda one: len(one.layers)):
        for below, layer in zip(("", *record.layers), record.layers, strict=False):
            parents.setdefault(layer, below)
    stored = images.layers.need(list(parents))
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="compress") as pool:
        blobs = list(pool.map(lambda layer: blob_of(images, layer, compression), stored))
    index = {chain_id: number for number, chain_id in enumerate(parents)}
    layers = [
        Layer(
            blob.digest,
            index.get(parents[layer.chain_id], -1),
            Notes(media_type=blob.media_type, diff_id=layer.diff_id, size=blob.size),
        )
        for layer, blob in zip(stored, blobs, strict=True)
    ]
    found = [
        Record(
            digest=f"sha256:{key}",
            results=[Result(index[record.layers[-1]], rfc3339(record.created))] if record.layers else [],
            step=record.step,
        )
        for key, record in sorted(records.items())
    ]
    unique = {blob.digest: blob for blob in blobs}
    return list(unique.values()), msgspec.json.encode(Cache(layers, found))


def _upload(client: Client, digest: str, path: str) -> None:
    if client.has_blob(digest):
        return

    def content(offset: int) -> Iterator[bytes]:
        with open(path, "rb") as file:
            file.seek(offset)
            while data := file.read(_READ):
                yield data

    client.upload(digest, os.stat(path).st_size, content)
