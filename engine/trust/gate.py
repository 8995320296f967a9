"""The gate between images and their use: applies the policies before an image is pulled, and before a container is
created from it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.errors import ImageRefused, RegistryError
from engine.image import reference as references
from engine.image.images import ImageStore
from engine.trust.policy import ACCEPT, DIGEST, REJECT, SIGNATURE, Rule, policies

if TYPE_CHECKING:
    from engine.image.reference import Reference
    from engine.registry.client import Client
    from engine.spec.image import ImageRecord
    from engine.trust.evidence import Signature


def admit_pull(
    images: ImageStore,
    reference: Reference,
    digests: Sequence[str],
    client: Client,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Refuse an image that is about to be pulled. `digests` are those of its manifests, the requested one first. Its
    signatures are stored for later. Raises ImageRefused, InvalidSpec, RegistryError, Corrupt."""
    rules = _rules(reference, environ)
    for rule in rules:
        _check_digest(rule, reference, digests)
    wanted = [rule for rule in rules if rule.require == SIGNATURE]
    if wanted:
        from engine.trust.evidence import Kept, fetched

        found = fetched(client, list(digests))
        for rule in wanted:
            signer_of(rule, reference, found)
        Kept(images.store.roots).write(digests[0], found)


def admit(images: ImageStore, name: str, *, environ: Mapping[str, str] = os.environ) -> list[tuple[Rule, str]]:
    """Refuse an image of the store before a container or build uses it. Returns the signer by rule ("" if none is
    required).

    An image that was built here needs neither a signature nor a digest: its base images were admitted. Raises
    ImageRefused, InvalidSpec, NotFound, RegistryError, Corrupt.
    """
    if references.is_id(name):
        return _admit_id(images, name, environ)
    reference = references.parse(name.partition(" ")[0])
    rules = _rules(reference, environ)
    if not rules:
        return []
    record = images.need(name)
    digests = _digests(record, reference)
    if not digests and images.is_built(record.id):
        rules = [rule for rule in rules if rule.require == REJECT]
    answers = []
    for rule in rules:
        _check_digest(rule, reference, digests)
        answers.append((rule, _signer(images, rule, reference, digests) if rule.require == SIGNATURE else ""))
    return answers


def verify(images: ImageStore, name: str, rule: Rule) -> str:
    """The signer of an image among those that the rule names; one that is not in the store is looked up in its registry.

    Raises ImageRefused, InvalidSpec, NotFound, RegistryError, Corrupt.
    """
    reference = references.parse(name)
    record = images.get(name)
    if record is not None:
        return _signer(images, rule, reference, _digests(record, reference))
    from engine.registry.client import Client
    from engine.trust.evidence import fetched

    client = Client(reference)
    _, _, digest = client.manifest(reference.pinned)
    return signer_of(rule, reference, fetched(client, [digest]))


def _admit_id(images: ImageStore, image_id: str, environ: Mapping[str, str]) -> list[tuple[Rule, str]]:
    """An id does not show where the image came from, so we use one of its names."""
    if not policies(environ):
        return []
    record = images.need(image_id)
    refused: ImageRefused | None = None
    for name in (*record.tags, *record.digests):
        try:
            return admit(images, name, environ=environ)
        except ImageRefused as error:
            refused = error
    raise refused or ImageRefused(f"image {image_id[:19]} has no name that a policy could admit")


def _rules(reference: Reference, environ: Mapping[str, str]) -> list[Rule]:
    found = [policy.of(reference) for policy in policies(environ)]
    return [rule for rule in found if rule.require != ACCEPT]


def _digests(record: ImageRecord, reference: Reference) -> list[str]:
    """The digests under which the repository has the image."""
    parsed = [references.parse(text) for text in record.digests]
    found = [one.digest for one in parsed if one.name == reference.name]
    return [reference.digest] if reference.digest in found else found


def _check_digest(rule: Rule, reference: Reference, digests: Sequence[str]) -> None:
    if rule.require == REJECT:
        raise ImageRefused(f"image {reference.familiar} is refused by {rule.place}")
    if rule.require != DIGEST:
        return
    if rule.digests:
        if not set(digests) & set(rule.digests):
            have = ", ".join(digests) or "no digest from its registry"
            raise ImageRefused(
                f"image {reference.familiar} is refused by {rule.place}: it has {have}, the rule lists {', '.join(rule.digests)}"
            )
    elif not reference.digest:
        raise ImageRefused(
            f"image {reference.familiar} is refused by {rule.place}: it is not pinned to a digest",
            hint="Write NAME@sha256:…, or run `composer lock` and use --locked.",
        )


def _signer(images: ImageStore, rule: Rule, reference: Reference, digests: Sequence[str]) -> str:
    """Check the signatures stored when the image was pulled, else those in its registry."""
    from engine.registry.client import Client
    from engine.trust.evidence import Kept, fetched

    if not digests:
        raise ImageRefused(
            f"image {reference.familiar} is refused by {rule.place}: it was not pulled from its registry, so it has no signature",
            hint="Pull it from its registry.",
        )
    kept = Kept(images.store.roots)
    refused: ImageRefused | None = None
    for digest in digests:
        try:
            if found := kept.read(digest):
                return signer_of(rule, reference, found)
        except ImageRefused as error:
            refused = error
        try:
            found = fetched(Client(reference), [digest, *(one for one in found if one != digest)])
            answer = signer_of(rule, reference, found)
            kept.write(digest, found)
            return answer
        except ImageRefused as error:
            refused = error
        except RegistryError as error:
            raise refused or ImageRefused(
                f"image {reference.familiar} is refused by {rule.place}: its signatures cannot be fetched: {error.message}"
            ) from error
    assert refused
    raise refused


def signer_of(rule: Rule, reference: Reference, found: Mapping[str, Sequence[Signature]]) -> str:
    """The signer of one of the digests. Raises ImageRefused with the reason for each signature, InvalidSpec for a key that
    cannot be read."""
    from engine.trust import keys
    from engine.trust.certificates import UntrustedError
    from engine.trust.verify import signer

    reasons = []
    for digest, signatures in found.items():
        for signature in signatures:
            try:
                return signer(signature, digest, rule)
            except UntrustedError as error:
                reasons.append(f"the signature {error}")
    if not reasons:
        for key in rule.keys:
            keys.load(key)  # a key that is missing is worse than a missing signature
    why = "\n  ".join(["", *dict.fromkeys(reasons)]) if reasons else " it is not signed"
    raise ImageRefused(f"image {reference.familiar} ({next(iter(found))}) is refused by {rule.place}:{why}")
