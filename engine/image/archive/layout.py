"""The OCI layout in an archive: images for all platforms, with annotations and attestations."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec
from msgspec import structs

from engine.errors import BadReference, Corrupt, ImageError
from engine.image import attached, manifest, platform, reference
from engine.image import config as image_config
from engine.image.archive.members import Members, blob_name
from engine.image.archive.saving import NAME, TAG
from engine.image.attached import Attached
from engine.image.images import ImageStore
from engine.image.layer_add import extract
from engine.image.platform import Platform
from engine.image.variants import platform_of
from engine.spec.image import ImageRecord
from engine.vocabulary import STATEMENT_TYPE

_decode = msgspec.json.Decoder(manifest.Index).decode


class _Found:
    """One manifest of the layout, with its annotations and attestations."""

    def __init__(self, body: manifest.Manifest, extras: Attached) -> None:
        self.manifest, self.extras = body, extras


def load(
    images: ImageStore, members: Members, wanted: Collection[Platform] = (), *, known: Collection[str] = ()
) -> list[ImageRecord]:
    """Store the images in index.json with their tags; those with `known` ids are stored and tagged already. A name
    refers to the image for this machine, and the others are its variants. Raises ImageError, Corrupt."""
    records: dict[str, ImageRecord] = {}
    for descriptor in _decode(members.read("index.json")).manifests:
        if blob_name(descriptor.digest) not in members and known:
            continue  # Docker's list is complete, and other tools leave out what only this one names
        tag = _tag(descriptor)
        chosen: dict[str, ImageRecord] = {}
        for found in _manifests(members, descriptor):
            record = _record(images, members, found, wanted, known)
            if record is not None:
                attached.write(images.store.roots, record.id, found.extras)
                chosen.setdefault(str(platform_of(record)), record)
        if not chosen:
            continue
        host = platform.host()
        own = next((one for one in chosen.values() if host.runs(platform_of(one))), next(iter(chosen.values())))
        if tag:
            images.tag(own.id, tag)
            images.set_variants(tag, {text: one.id for text, one in chosen.items() if one.id != own.id})
        tags = (*records[own.id].tags, tag) if own.id in records else (tag,)
        records[own.id] = structs.replace(own, tags=tuple(one for one in dict.fromkeys(tags) if one))
    return list(records.values())


def _tag(descriptor: manifest.Descriptor) -> str:
    """The full reference, "" for none: containerd's annotation, or the name if it is a complete reference."""
    name = descriptor.annotations.get(NAME, "") or descriptor.annotations.get(TAG, "")
    if not name or not (descriptor.annotations.get(NAME) or "/" in name or ":" in name):
        return ""
    try:
        return str(reference.parse(name))
    except BadReference:
        return ""


def _manifests(
    members: Members, descriptor: manifest.Descriptor, depth: int = 0, above: manifest.Index | None = None
) -> Iterator[_Found]:
    """The manifests that a descriptor refers to, directly or through indexes, except manifests of attestations."""
    if depth > manifest.INDEX_DEPTH:
        raise ImageError(f"indexes are nested more than {manifest.INDEX_DEPTH} levels deep")
    body = manifest.parse(members.blob(descriptor.digest), descriptor.media_type, f"manifest {descriptor.digest}")
    if isinstance(body, manifest.Index):
        for one in body.manifests:
            is_attestation = one.annotations.get(manifest.REFERENCE_TYPE) == manifest.ATTESTATION
            if not is_attestation and blob_name(one.digest) in members:
                yield from _manifests(members, one, depth + 1, body)
        return
    entry = attached.of_index(above, descriptor.digest) if above else None
    yield _Found(
        body,
        Attached(
            manifest=body.annotations,
            manifest_descriptor=descriptor.annotations if above else {},
            index=above.annotations if above else {},
            layers=attached.layers_of(body),
            attestations=tuple(_attestations(members, entry)) if entry else (),
        ),
    )


def _attestations(members: Members, entry: manifest.Descriptor) -> Iterator[attached.Attestation]:
    if blob_name(entry.digest) not in members:
        return
    subject = f"attestations {entry.digest}"
    body = manifest.parse(members.blob(entry.digest), entry.media_type, subject)
    for layer in body.layers[: attached.MOST] if isinstance(body, manifest.Manifest) else ():
        if layer.media_type == STATEMENT_TYPE:
            yield attached.parse_statement(members.blob(layer.digest), subject)


def _record(
    images: ImageStore, members: Members, found: _Found, wanted: Collection[Platform], known: Collection[str]
) -> ImageRecord | None:
    """Store the image of a manifest, unless it exists already or is for another platform than those requested."""
    config = found.manifest.config.digest
    if config in known:
        return images.need(config)
    file = members.blob(config)
    image = image_config.decode(file, config)
    if wanted and not any(one.runs(Platform(image.os, image.architecture, image.variant)) for one in wanted):
        return None
    diff_ids = image.rootfs.diff_ids or []
    if len(diff_ids) != len(found.manifest.layers):
        raise Corrupt(f"{config}: {len(found.manifest.layers)} layers, but {len(diff_ids)} diff_ids")
    chain = image_config.chain_ids(diff_ids)
    for position, layer in enumerate(found.manifest.layers):
        _layer(images, members, chain[: position + 1], layer, diff_ids[position])
    return images.record(file, chain)


def _layer(images: ImageStore, members: Members, chain: list[str], layer: manifest.Descriptor, diff_id: str) -> None:
    """Store the layer's blob unchanged, and unpack it."""
    manifest.compression(layer)
    if images.layers.get(chain[-1]) is not None:
        return
    if not images.blobs.is_whole(layer.digest, layer.size):
        with images.blobs.writer(layer.digest, layer.size, synced=False) as writer:
            members.fetch(writer)
    parent = images.layers.need(chain[-2:-1])[0].folder if len(chain) > 1 else ""
    with images.layers.draft(parent) as draft, open(images.blobs.path(layer.digest), "rb") as blob:
        done = extract(draft, blob, f"layer {layer.digest[7:19]} of the archive", diff_id=diff_id)
        images.layers.commit(
            draft,
            chain_id=chain[-1],
            diff_id=done.diff_id,
            size=done.size,
            stream=done.stream,
            blob=layer.digest,
        )
