"""services.* (compose-spec, 05-services.md)"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from composer.model.container import (
    Attachment,
    CredentialSpec,
    Dependency,
    EnvFile,
    Logging,
    ModelReference,
    Port,
    Workload,
)
from composer.model.deploy import Deploy
from composer.model.develop import Develop
from composer.model.element import Element, Words
from composer.model.hook import Hook, PreStartHook

__all__ = [
    "Attachment",
    "CredentialSpec",
    "Dependency",
    "EnvFile",
    "Logging",
    "ModelReference",
    "Port",
    "Provider",
    "Service",
]


def _lists(value: Any) -> Any:
    """A provider's options are lists of text."""
    if isinstance(value, dict):
        return {key: inner if isinstance(inner, list) else [inner] for key, inner in value.items()}
    return value


def _words(value: Any) -> Any:
    return [str(item).lower() if isinstance(item, bool) else item for item in value]


class Provider(Element):
    type: str
    options: Annotated[
        dict[str, Annotated[tuple[str, ...], BeforeValidator(_words)]], BeforeValidator(_lists)
    ] = {}  # fmt: skip


class Service(Workload):
    """One service in canonical form. None for command and entrypoint means the image's; [] means none at all."""

    attach: bool | None = None
    container_name: str = ""
    deploy: Deploy | None = None
    develop: Develop | None = None
    external_links: Words = ()
    links: Words = ()
    post_start: tuple[Hook, ...] = ()
    pre_start: tuple[PreStartHook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    provider: Provider | None = None
    pull_refresh_after: str = ""
    restart: str = ""
    scale: int | None = None
