"""A pull: manifest → configuration → layers, each verified on the stream, several at once → recorded."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from engine.errors import Corrupt, ImageError, NotFound, RegistryError
from engine.image import attached, lease, manifest, platform, reference
from engine.image import config as image_config
from engine.image.images import ImageStore
from engine.image.layer_add import Extracted, extract
from engine.image.layers import Draft
from engine.image.platform import Platform
from engine.registry import settings
from engine.registry.client import Client
from engine.spec.credentials import Credentials
from engine.spec.image import ImageRecord
from engine.trust import gate
from engine.vocabulary import STATEMENT_TYPE

_PARALLEL = 3
_CONFIG_LIMIT = 8 << 20

Progress = Callable[[dict[str, object]], None]


class _StoppedError(Exception):
    """Another layer failed, so this one stops."""


class Pull:
    """One pull of one reference; see `engine.registry.pull`."""

    def __init__(
        self,
        images: ImageStore,
        name: str,
        wanted: str,
        progress: Progress | None,
        insecure: Collection[str],
        given: Credentials | None = None,
    ) -> None:
        self.images = images
        self.reference = reference.parse(name)
        self.explicit = bool(wanted)
        self.platform = platform.parse(wanted)
        self.insecure = insecure
        self.client = Client(self.reference, insecure=insecure, given=given)
        self._progress = progress or (lambda event: None)
        self._progress_lock = threading.Lock()
        self._stop = threading.Event()
        self._chosen: tuple[manifest.Index, manifest.Descriptor] | None = None
        """The index that led to the manifest, and its entry."""

    def run(self) -> ImageRecord:
        with lease.adding(self.images.store.roots):
            body, found, digests = self.resolve()
            gate.admit_pull(self.images, self.reference, digests, self.client)
            file = self.configuration(found)
            chain = self.layers(found, image_config.decode(file, self.reference.familiar))
            self.images.blobs.add(body)
            tags = [str(self.reference)] if self.reference.tag and not self.reference.digest else []
            attached.write(self.images.store.roots, found.config.digest, self.extras(found))
            return self.images.record(file, chain, tags=tags, digests=[str(self.reference.with_digest(digests[0]))])

    def resolve(self) -> tuple[bytes, manifest.Manifest, list[str]]:
        """The tagged manifest or index (its bytes), the manifest for our platform, and the digests on the way from one
        to the other."""
        subject = self.reference.familiar
        body, media_type, digest = self.first_manifest()
        found = manifest.parse(body, media_type, subject)
        digests = [digest]
        for _ in range(manifest.INDEX_DEPTH):
            if isinstance(found, manifest.Manifest):
                return body, found, digests
            chosen = manifest.select(found, self.platform, subject)
            self._chosen = found, chosen
            inner, media_type, digest = self.client.manifest(chosen.digest)
            digests.append(digest)
            if len(inner) != chosen.size:
                raise Corrupt(
                    f"{subject}: manifest {chosen.digest} has {len(inner)} bytes, its index promises {chosen.size}"
                )
            found = manifest.parse(inner, media_type, subject)
        raise ImageError(f"{subject}: indexes are nested more than {manifest.INDEX_DEPTH} levels deep")

    def first_manifest(self) -> tuple[bytes, str, str]:
        """From the first mirror that has it, which then serves the rest, else from the registry itself."""
        for mirror in settings.of(self.reference.registry).mirrors:
            client = Client(self.reference, insecure=self.insecure, mirror=mirror)
            try:
                found = client.manifest(self.reference.pinned)
            except (RegistryError, NotFound) as error:
                self.report(self.reference.familiar, f"Mirror {mirror}: {error.message}")
                continue
            self.client = client
            return found
        return self.client.manifest(self.reference.pinned)

    def extras(self, found: manifest.Manifest) -> attached.Attached:
        """The image's annotations and attestations. Raises RegistryError, Corrupt."""
        if self._chosen is None:
            return attached.Attached(manifest=found.annotations, layers=attached.layers_of(found))
        index, chosen = self._chosen
        entry = attached.of_index(index, chosen.digest)
        return attached.Attached(
            manifest=found.annotations,
            manifest_descriptor=chosen.annotations,
            index=index.annotations,
            layers=attached.layers_of(found),
            attestations=tuple(self.attestations(entry)) if entry else (),
        )

    def attestations(self, entry: manifest.Descriptor) -> Iterator[attached.Attestation]:
        """The attestations of the manifest `entry`, except those that the registry lacks, because the image does not
        need them."""
        subject = f"attestations of {self.reference.familiar}"
        try:
            body, media_type, _ = self.client.manifest(entry.digest)
            found = manifest.parse(body, media_type, subject)
            layers = found.layers if isinstance(found, manifest.Manifest) else []
            wanted = [one for one in layers if one.media_type == STATEMENT_TYPE][: attached.MOST]
            if sum(one.size for one in wanted) > attached.LIMIT:
                raise ImageError(f"they are larger than {attached.LIMIT >> 20} MiB")
            for one in wanted:
                yield attached.parse_statement(self.client.blob(one.digest, one.size), subject)
        except (NotFound, ImageError) as error:
            if isinstance(error, Corrupt):
                raise
            self.report(self.reference.familiar, f"Warning: skipping {subject}: {error.message}")

    def configuration(self, found: manifest.Manifest) -> bytes:
        descriptor = found.config
        if descriptor.size > _CONFIG_LIMIT:
            raise ImageError(
                f"{self.reference.familiar}: the configuration has {descriptor.size} bytes, more than {_CONFIG_LIMIT}"
            )
        if not self.images.blobs.has(descriptor.digest, descriptor.size):
            with self.images.blobs.writer(descriptor.digest, descriptor.size) as writer:
                self.client.fetch(writer)
        file = self.images.blobs.read(descriptor.digest)
        image = image_config.decode(file, self.reference.familiar)
        theirs = Platform(image.os, image.architecture, image.variant)
        if not self.platform.runs(theirs):
            if self.explicit:
                raise NotFound(
                    "image", f"{self.reference.familiar} for platform {self.platform}", hint=f"It is for {theirs}."
                )
            self.report(self.reference.familiar, f"Warning: the image is for {theirs}, this machine is {self.platform}")
        return file

    def layers(self, found: manifest.Manifest, image: image_config.ImageFile) -> list[str]:
        """Fetch and unpack missing layers; returns all chain ids."""
        diff_ids = image.rootfs.diff_ids or []
        if len(diff_ids) != len(found.layers):
            raise Corrupt(f"{self.reference.familiar}: {len(found.layers)} layers, but {len(diff_ids)} diff_ids")
        chain = image_config.chain_ids(diff_ids)
        store, missing = self.images.layers, self._missing(found, chain)
        if not missing:
            return chain
        with contextlib.ExitStack() as stack:
            drafts = {position: stack.enter_context(store.draft()) for position in missing}
            pool = stack.enter_context(ThreadPoolExecutor(_PARALLEL, thread_name_prefix="pull"))
            jobs: dict[int, Future[Extracted]] = {}
            try:
                for position in missing:
                    jobs[position] = pool.submit(self.one, found.layers[position], diff_ids[position], drafts[position])
                for position in missing:
                    done = self.result(jobs, position)
                    if position and not done.has_root:
                        drafts[position].inherit(store.path(store.need([chain[position - 1]])[0].folder))
                    store.commit(
                        drafts[position],
                        chain_id=chain[position],
                        diff_id=done.diff_id,
                        size=done.size,
                        stream=done.stream,
                        blob=found.layers[position].digest,
                    )
                    self.report(found.layers[position].digest, "Pull complete")
            except BaseException:
                self._stop.set()
                for job in jobs.values():
                    job.cancel()
                raise
        return chain

    def _missing(self, found: manifest.Manifest, chain: list[str]) -> list[int]:
        """The positions of layers that are not in the store."""
        missing: list[int] = []
        for position, (chain_id, layer) in enumerate(zip(chain, found.layers, strict=True)):
            manifest.compression(layer)
            if self.images.layers.get(chain_id) is None:
                missing.append(position)
                self.report(layer.digest, "Pulling fs layer")
            else:
                self.report(layer.digest, "Already exists")
        return missing

    def result(self, jobs: dict[int, Future[Extracted]], position: int) -> Extracted:
        """The result of one job; if it stopped because another failed, the other's error."""
        try:
            return jobs[position].result()
        except _StoppedError:
            for job in jobs.values():
                if (
                    job.done()
                    and not job.cancelled()
                    and (error := job.exception())
                    and not isinstance(error, _StoppedError)
                ):
                    raise error from None
            raise

    def one(self, layer: manifest.Descriptor, diff_id: str, draft: Draft) -> Extracted:
        """In a thread of the pool: fetch one layer unless its blob exists, and unpack it."""
        try:
            with self.images.blobs.exclusive(layer.digest):
                if not self.images.blobs.is_whole(layer.digest, layer.size):
                    self.fetch(layer)
            self.check_stop()
            self.report(layer.digest, "Extracting", layer.size, layer.size)
            with open(self.images.blobs.path(layer.digest), "rb") as file:
                return extract(draft, file, f"layer {layer.digest[7:19]} of {self.reference.familiar}", diff_id=diff_id)
        except BaseException:
            self._stop.set()
            raise

    def fetch(self, layer: manifest.Descriptor) -> None:
        step = max(layer.size // 100, 1 << 19)
        reported = -step

        def progress(count: int) -> None:
            nonlocal reported
            self.check_stop()
            if count - reported >= step or count == layer.size:
                reported = count
                self.report(layer.digest, "Downloading", count, layer.size)

        with self.images.blobs.writer(layer.digest, layer.size, synced=False) as writer:
            self.client.fetch(writer, progress, urls=layer.urls)
        self.report(layer.digest, "Download complete", layer.size, layer.size)

    def check_stop(self) -> None:
        if self._stop.is_set():
            raise _StoppedError

    def report(self, subject: str, status: str, current: int = 0, total: int = 0) -> None:
        name = subject[7:19] if subject.startswith("sha256:") else subject
        event: dict[str, object] = {"id": name, "status": status, "parent": self.reference.familiar}
        if total:
            event |= {"current": current, "total": total}
        with self._progress_lock:
            self._progress(event)
