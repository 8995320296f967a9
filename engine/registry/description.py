"""Describes what a registry has under a name: the manifest's descriptor, and its platforms."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection
from typing import TypeVar

from engine.errors import ImageError, NotFound, RegistryError
from engine.image import manifest
from engine.image.reference import Reference, parse
from engine.registry import settings
from engine.registry.client import Client
from engine.spec.credentials import Credentials
from engine.spec.image import RemoteImage

T = TypeVar("T")


def describe(reference: str, insecure: Collection[str], given: Credentials | None) -> RemoteImage:
    """See engine.registry.describe. An index's entries without a platform (attestations) are omitted."""
    found = parse(reference)
    return _answered(found, insecure, given, _described)


def tags(name: str, insecure: Collection[str], given: Credentials | None) -> list[str]:
    """See engine.registry.tags."""
    return _answered(parse(name), insecure, given, Client.tags)


def _answered(found: Reference, insecure: Collection[str], given: Credentials | None, ask: Callable[[Client], T]) -> T:
    """From the first mirror that has it, else from the registry itself."""
    for mirror in settings.of(found.registry).mirrors:
        with contextlib.suppress(RegistryError, NotFound):
            return ask(Client(found, insecure=insecure, mirror=mirror))
    return ask(Client(found, insecure=insecure, given=given))


def _described(client: Client) -> RemoteImage:
    found = client.reference
    body, media_type, digest = client.manifest(found.pinned)
    parsed = manifest.parse(body, media_type, found.familiar)
    if isinstance(parsed, manifest.Index):
        fields = [entry.platform for entry in parsed.manifests if entry.platform is not None]
        platforms = [(one.os, one.architecture, one.variant) for one in fields if one.os != "unknown"]
    elif parsed.config.size > manifest.MANIFEST_LIMIT:
        raise ImageError(f"{found.familiar}: the configuration has {parsed.config.size} bytes")
    else:
        config = json.loads(client.blob(parsed.config.digest, parsed.config.size))
        platforms = [(config.get("os", ""), config.get("architecture", ""), config.get("variant", ""))]
    return RemoteImage(media_type=media_type, digest=digest, size=len(body), platforms=tuple(platforms))
