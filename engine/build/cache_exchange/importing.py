"""cache_from: looks steps up in imported caches, and fetches their layers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from engine.build.cache import BuildCache
from engine.build.cache_exchange import document
from engine.build.cache_exchange.document import Found
from engine.build.cache_exchange.entry import Entry
from engine.build.cache_exchange.folder import Folder
from engine.build.progress import Reporter
from engine.errors import EngineError, ImageError, NotFound
from engine.image import config as image_config
from engine.image import manifest, platform
from engine.image import reference as references
from engine.image.blobs import BlobWriter
from engine.image.images import ImageStore
from engine.image.layer_add import extract
from engine.image.usage import CacheRecord
from engine.registry.client import Client
from engine.trust import gate


class _Origin:
    """One cache: the results of its records, and how to fetch its blobs."""

    def __init__(self, records: dict[str, Found], fetch: Callable[[BlobWriter], None], subject: str) -> None:
        self.records, self.fetch, self.subject = records, fetch, subject


class Imports:
    """The caches of one build, read when it begins. Used by several threads."""

    def __init__(self, images: ImageStore, entries: Sequence[Entry], reporter: Reporter) -> None:
        self._origins: list[_Origin] = []
        self._lock = threading.Lock()
        for entry in entries:
            step = reporter.step("internal", f"importing cache manifest from {entry.place}")
            try:
                self._origins.append(_opened(images, entry))
            except EngineError as error:
                # As BuildKit: the first build has no cache to import.
                step.warn(f"{entry.place}: {error.message}")
            step.done()

    def get(self, key: str, chain: Sequence[str], images: ImageStore, cache: BuildCache) -> CacheRecord | None:
        """The record for a step on top of `chain`, with its layer now in the store; None when no cache has it or its
        layer cannot be fetched."""
        for origin in self._origins:
            found = origin.records.get(f"sha256:{key}")
            if found is None:
                continue
            ids = image_config.chain_ids([diff_id for diff_id, _ in found.layers])
            if ids[:-1] != list(chain):
                continue
            try:
                with self._lock:
                    _fetch(images, origin, found, ids)
            except EngineError:
                continue
            return cache.put(key, ids, found.step, created=found.created)
        return None


def _opened(images: ImageStore, entry: Entry) -> _Origin:
    if entry.type == "local":
        folder = Folder(entry.place)
        body = folder.named(entry.tag, entry.digest)
        found = _manifest(body, manifest.OCI_MANIFEST, entry.place, lambda digest, size: folder.blob(digest, size))
        return _read(found, lambda one: folder.blob(one.digest, document.LIMIT), folder.fetch, entry.place)
    reference = references.parse(entry.place)
    client = Client(reference)
    body, media_type, digest = client.manifest(reference.pinned)
    gate.admit_pull(images, reference, [digest], client)
    found = _manifest(body, media_type, entry.place, lambda digest, size: client.manifest(digest)[0])
    return _read(found, lambda one: client.blob(one.digest, one.size), client.fetch, entry.place)


def _manifest(
    body: bytes, media_type: str, subject: str, inner: Callable[[str, int], bytes]
) -> manifest.Manifest | manifest.Index:
    """The manifest, or the index that is a cache itself; of an image for several platforms this machine's."""
    found = manifest.parse(body, media_type, subject)
    if isinstance(found, manifest.Index) and not any(one.media_type == document.MEDIA_TYPE for one in found.manifests):
        chosen = manifest.select(found, platform.host(), subject)
        found = manifest.parse(inner(chosen.digest, chosen.size), chosen.media_type, subject)
    return found


def _read(
    found: manifest.Manifest | manifest.Index,
    blob: Callable[[manifest.Descriptor], bytes],
    fetch: Callable[[BlobWriter], None],
    subject: str,
) -> _Origin:
    """One of three forms: a manifest or an index with a cache's configuration, or an image that contains records."""
    if isinstance(found, manifest.Index):
        config = next((one for one in found.manifests if one.media_type == document.MEDIA_TYPE), None)
        layers = [one for one in found.manifests if one is not config]
    else:
        config, layers = found.config, found.layers
    if config is None or config.size > document.LIMIT:
        raise ImageError(f"{subject} has no build cache")
    body = blob(config)
    if config.media_type == document.MEDIA_TYPE:
        return _Origin(document.read(body, layers, subject), fetch, subject)
    records = document.read_inline(image_config.decode(body, subject), layers, subject)
    if not records:
        raise NotFound("build cache", subject)
    return _Origin(records, fetch, subject)


def _fetch(images: ImageStore, origin: _Origin, found: Found, ids: list[str]) -> None:
    """Put the uppermost layer into the store. Those below are present, because the step builds on them."""
    store = images.layers
    if store.get(ids[-1]) is not None:
        return
    diff_id, blob = found.layers[-1]
    manifest.compression(blob)
    if not images.blobs.is_whole(blob.digest, blob.size):
        with images.blobs.writer(blob.digest, blob.size, synced=False) as writer:
            origin.fetch(writer)
    parent = store.need(ids[:-1])[-1].folder if ids[:-1] else ""
    with store.draft(parent) as draft, open(images.blobs.path(blob.digest), "rb") as file:
        done = extract(draft, file, f"layer {blob.digest[7:19]} of {origin.subject}", diff_id=diff_id)
        store.commit(draft, chain_id=ids[-1], diff_id=diff_id, size=done.size, stream=done.stream, blob=blob.digest)
