"""A push: layers as blobs (what the registry has is skipped or mounted) → configuration → manifest."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from engine.errors import ImageError
from engine.image import lease, manifest, reference
from engine.image.images import ImageStore
from engine.image.layer_blob import Compression, blob_of, compress
from engine.image.layers import Layer
from engine.image.publication import publish
from engine.registry import referrers, settings
from engine.spec.credentials import Credentials
from engine.spec.image import ImageRecord, for_platform

if TYPE_CHECKING:
    from engine.registry.client import Client

_READ = 1 << 20
_PARALLEL = 6
_SMALL = 4 << 20
"""Up to this size in bytes, a new blob is sent without asking whether the registry has it: that is unlikely, and the
request takes about as long as the blob."""

Progress = Callable[[dict[str, object]], None]


class Push:
    """One push of one tag; see `engine.registry.push`."""

    def __init__(
        self,
        images: ImageStore,
        name: str,
        progress: Progress | None,
        insecure: Collection[str],
        given: Credentials | None = None,
        compression: Compression | None = None,
    ) -> None:
        self.images = images
        self.reference = reference.parse(name)
        if self.reference.digest:
            raise ImageError(f"cannot push {name}: a digest is not a valid push target", hint="Push a tag.")
        configured = settings.of(self.reference.registry)
        self.compression = compression or Compression(configured.compression or "gzip", configured.compression_level)
        self.insecure, self.given = insecure, given
        self._client: Client | None = None
        self._client_lock = threading.Lock()
        self._progress = progress or (lambda event: None)
        self._progress_lock = threading.Lock()
        self._stop = threading.Event()
        self._indexed: set[str] = set()
        """Digests of manifests whose referrers the registry lists itself."""
        self._sent: set[str] = set()
        """Digests of small blobs that the registry has."""

    def run(self, platform: str = "") -> str:
        """With a platform, only its manifest is sent, and no index."""
        with lease.adding(self.images.store.roots):
            name = str(self.reference)
            image = self.images.need(for_platform(name, platform))
            others = {} if platform else self.images.variants(name)
            top = publish(self.images, image, others, self, names=[name], alone=bool(platform))
            body = top.body
            self.client.put_manifest(self.reference.tag, body, top.media_type)
            digest = self.images.blobs.add(body)
            pinned = self.reference.with_digest(digest)
            self.images.add_digest(image.id, pinned)
            self.images.set_variants(str(pinned), others)
            self.report(self.reference.familiar, f"digest: {digest} size: {len(body)}")
            return digest

    @property
    def client(self) -> Client:
        """The connection to the registry. Its modules are loaded while layers are being compressed, because that takes
        as long."""
        with self._client_lock:
            if self._client is None:
                from engine.registry.client import Client

                self._client = Client(self.reference, "pull,push", self.insecure, given=self.given)
            return self._client

    # -- engine.image.publication.Destination

    def layers(self, image: ImageRecord) -> list[manifest.Descriptor]:
        layers = self.images.layers.need(self.images.chain(image.id))
        return self.send(layers, self.neighbours(image.digests), image.id)

    def put_blob(self, digest: str, content: bytes) -> None:
        if digest not in self._sent and not self.client.has_blob(digest):
            self.client.upload(digest, len(content), lambda offset: [content[offset:]])
        self._sent.add(digest)

    def put_manifest(self, body: bytes, media_type: str) -> None:
        self._indexed.add(self.client.put_manifest(self.images.blobs.add(body), body, media_type))

    def refers(self, descriptor: manifest.Descriptor, subject: manifest.Descriptor) -> None:
        if subject.digest not in self._indexed:
            referrers.attach(self.client, descriptor, subject)

    # -- layers

    def neighbours(self, digests: Collection[str]) -> list[str]:
        """Other repositories of the same registry that had this image: blobs may be mounted from there."""
        known = [reference.parse(text) for text in digests]
        return [
            other.repository
            for other in known
            if other.registry == self.reference.registry and other.repository != self.reference.repository
        ]

    def send(self, layers: list[Layer], others: list[str], config: str) -> list[manifest.Descriptor]:
        """Send the layers and the configuration: some are compressed while others, which are ready, are sent."""
        made: dict[str, str] = {}
        try:
            with (
                ThreadPoolExecutor(_PARALLEL, thread_name_prefix="push") as senders,
                ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="compress") as makers,
            ):
                try:
                    ready = [makers.submit(self.prepare, layer, others, senders, made) for layer in layers]
                    _ = self.client  # loaded here, while the others compress
                    small = senders.submit(self.put_blob, config, self.images.blobs.read(config))
                    sent = [one.result().result() for one in ready]
                    small.result()
                    return sent
                except BaseException:
                    self._stop.set()
                    makers.shutdown(wait=False, cancel_futures=True)
                    senders.shutdown(wait=False, cancel_futures=True)
                    raise
        finally:
            self.images.layers.set_blobs(made)

    def prepare(
        self, layer: Layer, others: list[str], senders: ThreadPoolExecutor, made: dict[str, str]
    ) -> Future[manifest.Descriptor]:
        """Compress a layer that has no blob, and let it be sent. Chain ids and digests of new blobs that are on disk go
        into `made`."""
        known = bool(layer.blob) and self.images.blobs.has(layer.blob)
        if known:
            blob = blob_of(self.images, layer, self.compression)
        else:
            self.report(layer.diff_id, "Preparing")
            blob = compress(self.images, layer, self.compression, synced=False)
        return senders.submit(self.layer, layer, blob, others, None if known else made)

    def layer(
        self, layer: Layer, blob: manifest.Descriptor, others: list[str], made: dict[str, str] | None
    ) -> manifest.Descriptor:
        digest, size, path = blob.digest, blob.size, self.images.blobs.path(blob.digest)
        new = made is not None and size <= _SMALL
        if not new and self.client.has_blob(digest):
            self.report(layer.diff_id, "Layer already exists")
        elif any(self.client.mount_blob(digest, other) for other in others):
            self.report(layer.diff_id, "Mounted")
        else:
            self.client.upload(digest, size, lambda offset: self.content(path, layer, size, offset))
            self.report(layer.diff_id, "Pushed", size, size)
        if made is not None:
            self.images.blobs.sync(digest)
            made[layer.chain_id] = digest
        return blob

    def content(self, path: str, layer: Layer, size: int, sent: int) -> Iterator[bytes]:
        with open(path, "rb") as file:
            file.seek(sent)
            while data := file.read(_READ):
                if self._stop.is_set():
                    raise ImageError(f"the push of {self.reference.familiar} was cancelled")
                yield data
                sent += len(data)
                self.report(layer.diff_id, "Pushing", sent, size)

    def report(self, subject: str, status: str, current: int = 0, total: int = 0) -> None:
        name = subject[7:19] if subject.startswith("sha256:") else subject
        event: dict[str, object] = {"id": name, "status": status, "parent": self.reference.familiar}
        with self._progress_lock:
            self._progress(event | {"current": current, "total": total} if total else event)
