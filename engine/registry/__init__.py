"""The registry side: pulling and pushing images over the OCI distribution protocol.

Modules are imported when a function is called, so that commands that find their images in the store do not load HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from engine.image.blobs import BlobStore
    from engine.image.images import ImageStore
    from engine.image.layer_blob import Compression
    from engine.spec.artifact import ArtifactFile, ArtifactKind
    from engine.spec.credentials import Credentials
    from engine.spec.image import ImageRecord, RemoteImage

    Progress = Callable[[dict[str, object]], None]


def pull(
    reference: str,
    *,
    images: ImageStore,
    platform: str = "",
    progress: Progress | None = None,
    insecure: Collection[str] = (),
    given: Credentials | None = None,
) -> ImageRecord:
    """Fetch an image and record it under `reference`; blobs and layers in the store are not fetched again.

    `platform` is os/architecture[/variant], "" for this machine's. `insecure` names registries (host[:port]) that may
    speak http or show any certificate, as those on the loopback interface may. `given` replaces the stored credentials.
    Raises RegistryError, ImageError, NotFound, Unsupported, OperationFailed; a failed pull records nothing, and the
    next one uses the blobs that it completed.
    """
    from engine.registry.pulling import Pull

    return Pull(images, reference, platform, progress, insecure, given).run()


def push(
    reference: str,
    *,
    images: ImageStore,
    progress: Progress | None = None,
    insecure: Collection[str] = (),
    given: Credentials | None = None,
    platform: str = "",
    compression: Compression | None = None,
) -> str:
    """Upload the image tagged `reference`, for one platform if one is given; returns the manifest's digest. Blobs that
    the registry has are not sent. Layers without a blob are compressed as given by `compression`, or else by the
    registry's settings."""
    from engine.registry.pushing import Push

    return Push(images, reference, progress, insecure, given, compression).run(platform)


def lock(reference: str, *, images: ImageStore, insecure: Collection[str] = ()) -> str:
    """As `pinned`; for an image that only this store has, its id.

    Raises BadReference, NotFound, RegistryError.
    """
    from engine.errors import NotFound, RegistryError
    from engine.image.reference import parse

    try:
        return pinned(reference, insecure=insecure)
    except (NotFound, RegistryError):
        record = images.get(reference)
        source = f"{parse(reference).name}@"
        # A digest from another repository shows where the image was pushed.
        if record is None or any(name.startswith(source) for name in record.digests):
            raise
        return record.id


def pinned(reference: str, *, insecure: Collection[str] = ()) -> str:
    """The full reference with the digest that its registry has for it; one with a digest is unchanged.

    Raises BadReference, NotFound, RegistryError.
    """
    from engine.image.reference import parse
    from engine.registry.client import Client

    found = parse(reference)
    if found.digest:
        return str(found)
    _, _, digest = Client(found, insecure=insecure).manifest(found.pinned)
    return f"{found}@{digest}"


def read_artifact(
    name: str, kind: ArtifactKind, known: Callable[[str], bool], *, insecure: Collection[str] = ()
) -> tuple[str, list[ArtifactFile]]:
    """See `engine.registry.artifact.read`."""
    from engine.registry.artifact import read

    return read(name, kind, known, insecure)


def publish(
    name: str,
    kind: ArtifactKind,
    files: Sequence[ArtifactFile],
    *,
    blobs: BlobStore,
    version: str = "",
    images: Sequence[str] | None = None,
    annotations: dict[str, str] | None = None,
    warn: Callable[[str], None],
    insecure: Collection[str] = (),
) -> str:
    """Publish files as the artifact `name`; its digest. With `images` these are copied into its repository, too, and listed
    in an index with these annotations. Raises RegistryError, ImageError, NotFound."""
    from engine.registry.artifact import Publication

    publication = Publication(name, kind, blobs, insecure)
    made = publication.run(files, version, warn)
    if images is not None:
        publication.index(made, images, annotations or {})
    return made.digest


def tags(name: str, *, insecure: Collection[str] = (), given: Credentials | None = None) -> list[str]:
    """All tags of a repository. Raises BadReference, NotFound, RegistryError."""
    from engine.registry.description import tags

    return tags(name, insecure, given)


def describe(reference: str, *, insecure: Collection[str] = (), given: Credentials | None = None) -> RemoteImage:
    """Describe what a registry has under a name, without fetching it. Raises BadReference, NotFound, RegistryError."""
    from engine.registry.description import describe

    return describe(reference, insecure, given)
