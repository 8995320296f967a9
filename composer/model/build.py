"""services.*.build (compose-spec, build.md)"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from composer.model.element import Element, Pairs, Variables, Words
from composer.model.files import FileReference
from composer.model.quantities import Bytes
from composer.model.ulimit import Ulimits


def _ssh(value: Any) -> Any:
    """{"default": null, "id": "path"} → ["default", "id=path"]."""
    if isinstance(value, dict):
        return [key if inner in (None, "") else f"{key}={inner}" for key, inner in value.items()]
    return value


class Build(Element):
    """`context` is an absolute path or a remote address; `secrets` name top-level secrets."""

    context: str = ""
    dockerfile: str = ""
    dockerfile_inline: str | None = None
    args: Variables = {}
    additional_contexts: Pairs = {}
    cache_from: Words = ()
    cache_to: Words = ()
    entitlements: Words = ()
    extra_hosts: Words = ()
    isolation: str = ""
    labels: Pairs = {}
    network: str = ""
    no_cache: bool = False
    no_cache_filter: Words = ()
    platforms: Words = ()
    privileged: bool = False
    provenance: str | bool | None = None
    pull: bool = False
    sbom: str | bool | None = None
    secrets: tuple[FileReference, ...] = ()
    shm_size: Bytes = 0
    ssh: Annotated[tuple[str, ...], BeforeValidator(_ssh)] = ()
    tags: Words = ()
    target: str = ""
    ulimits: Ulimits = {}
