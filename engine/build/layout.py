"""Images in folders: `oci-layout://PATH[:TAG][@DIGEST]` as an additional context (image-spec, image-layout.md)."""

from __future__ import annotations

import contextlib
import re

from engine.build.cache_exchange.folder import Folder
from engine.build.sources import IMAGE_SCHEME, Sources
from engine.errors import BuildFailed, Corrupt, EngineError, ImageError
from engine.image import config as image_config
from engine.image import lease, manifest, platform
from engine.image.images import ImageStore
from engine.image.layer_add import extract
from engine.spec.image import ImageRecord
from engine.vocabulary import DIGEST

SCHEME = "oci-layout://"
_CONFIG_LIMIT = 8 << 20


def context(text: str, sources: Sources, wanted: platform.Platform) -> str:
    """The image as a context for the builder (docker-image://ID). It is removed after the build, unless it existed
    before.

    Raises BuildFailed, NotFound, ImageError, Corrupt.
    """
    match = re.fullmatch(rf"(?P<path>.+?)(?::(?P<tag>[\w][\w.-]*))?(?:@(?P<digest>{DIGEST}))?", text[len(SCHEME) :])
    if match is None:
        raise BuildFailed(f"{text}: expected {SCHEME}PATH[:TAG][@DIGEST]")
    folder = Folder(match["path"])
    images = sources.images
    with lease.adding(images.store.roots):
        found = _manifest(folder, match["tag"] or "latest", match["digest"] or "", wanted, text)
        if found.config.size > _CONFIG_LIMIT:
            raise ImageError(f"{text}: the configuration has {found.config.size} bytes, more than {_CONFIG_LIMIT}")
        file = folder.blob(found.config.digest, found.config.size)
        there = images.get(found.config.digest) is not None
        record = _record(images, folder, found, file, text)
    if not there:
        sources.at_end(lambda: _remove(images, record))
    return f"{IMAGE_SCHEME}{record.id}"


def _manifest(folder: Folder, tag: str, digest: str, wanted: platform.Platform, subject: str) -> manifest.Manifest:
    body = folder.named(tag, digest)
    for _ in range(manifest.INDEX_DEPTH):
        found = manifest.parse(body, "", subject)
        if isinstance(found, manifest.Manifest):
            return found
        body = folder.blob(manifest.select(found, wanted, subject).digest, manifest.MANIFEST_LIMIT)
    raise ImageError(f"{subject}: indexes are nested more than {manifest.INDEX_DEPTH} levels deep")


def _record(images: ImageStore, folder: Folder, found: manifest.Manifest, file: bytes, subject: str) -> ImageRecord:
    diff_ids = image_config.decode(file, subject).rootfs.diff_ids or []
    if len(diff_ids) != len(found.layers):
        raise Corrupt(f"{subject}: {len(found.layers)} layers, but {len(diff_ids)} diff_ids")
    chain = image_config.chain_ids(diff_ids)
    store = images.layers
    for position, (chain_id, layer) in enumerate(zip(chain, found.layers, strict=True)):
        manifest.compression(layer)
        if store.get(chain_id) is not None:
            continue
        if not images.blobs.is_whole(layer.digest, layer.size):
            with images.blobs.writer(layer.digest, layer.size, synced=False) as writer:
                folder.fetch(writer)
        parent = store.need([chain[position - 1]])[0].folder if position else ""
        with store.draft(parent) as draft, open(images.blobs.path(layer.digest), "rb") as blob:
            done = extract(draft, blob, f"layer {layer.digest[7:19]} of {subject}", diff_id=diff_ids[position])
            store.commit(
                draft, chain_id=chain_id, diff_id=done.diff_id, size=done.size, stream=done.stream, blob=layer.digest
            )
    return images.record(file, chain)


def _remove(images: ImageStore, record: ImageRecord) -> None:
    with contextlib.suppress(EngineError):
        images.remove(record.id)
