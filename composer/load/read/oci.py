"""Compose files in an OCI artifact of a registry: `oci://REGISTRY/REPOSITORY[:TAG]`, as `publish` pushes them. Each
layer is one file: the project's files in order, the files that their services extend, and env files. A registry's
answer is untrusted: names must be plain file names, and the engine verifies digests and limits sizes.
"""

from __future__ import annotations

import os
import re

from composer.load.errors import LoadError
from composer.load.read import cache, pins
from engine.vocabulary import DIGEST

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Protocol

    from composer.load.options import Inputs
    from composer.load.tree.nodes import Origin

    class File(Protocol):
        """One layer of the artifact."""

        @property
        def media_type(self) -> str: ...
        @property
        def annotations(self) -> Mapping[str, str]: ...
        @property
        def content(self) -> bytes: ...

    Artifacts = Callable[[str, Callable[[str], bool]], tuple[str, Sequence[File]]]
    """Reads an artifact: (reference, function that tells whether a digest is cached) → its digest, and its files unless cached.
Raises LoadError."""

PREFIX = "oci://"
SWITCH = "COMPOSE_EXPERIMENTAL_OCI_REMOTE"
PROJECT = "application/vnd.docker.compose.project"
COMPOSE_FILE = "application/vnd.docker.compose.file+yaml"
ENV_FILE = "application/vnd.docker.compose.envfile"
EMPTY_CONFIG = "application/vnd.docker.compose.config.empty.v1+json"
NAMED, NAMED_ENV, EXTENDED = "com.docker.compose.file", "com.docker.compose.envfile", "com.docker.compose.extends"
"""Annotations of a layer: the name of a compose file, the name of an env file, whether services extend the file."""
VERSION = "com.docker.compose.version"
MAIN = "compose.yaml"
_DIGEST = re.compile(DIGEST)


def checkout(
    reference: str, environ: Mapping[str, str], artifacts: Artifacts | None, inputs: Inputs, origin: Origin | None
) -> tuple[str, str]:
    """The folder with the artifact's files, and the name of the compose file in it. Raises LoadError."""
    name, _, fixed = reference.removeprefix(PREFIX).partition("@")
    found: list[File] = []

    def read(pinned: str) -> str:
        if artifacts is None:
            raise LoadError(f"{reference}: files from registries are not supported here", origin)
        try:
            digest, found[:] = artifacts(pinned, lambda digest: os.path.isdir(_folder(environ, digest)))
        except LoadError as error:
            error.origin = error.origin or origin
            raise
        return digest

    digest = fixed or pins.resolved(reference, reference, inputs, origin, lambda: read(name))
    if not _DIGEST.fullmatch(digest):
        raise LoadError(
            f"{reference}: {digest!r} is not a digest", origin, "a digest is sha256: and 64 hexadecimal digits"
        )
    folder = _folder(environ, digest)
    if not os.path.isdir(folder):
        if not found:
            read(f"{name}@{digest}")
        contents = _contents(reference, found, origin)
        with cache.filled(folder, reference, origin) as made:
            for file, content in contents.items():
                with open(os.path.join(made, file), "xb") as output:
                    output.write(content)
    return folder, MAIN


def _folder(environ: Mapping[str, str], digest: str) -> str:
    return cache.folder(environ, "oci", digest.removeprefix("sha256:"))


def _contents(reference: str, files: Iterable[File], origin: Origin | None) -> dict[str, bytes]:
    """Name → content. The project's files become documents of a single file, because each is merged over those before
    it."""
    found: dict[str, bytes] = {}
    for file in files:
        if file.media_type == COMPOSE_FILE:
            name = file.annotations.get(NAMED, "") if EXTENDED in file.annotations else MAIN
        elif file.media_type == ENV_FILE:
            name = file.annotations.get(NAMED_ENV, "")
        else:
            continue
        if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
            raise LoadError(f"{reference}: invalid OCI artifact: {name!r} is not the name of a file", origin)
        found[name] = b"\n---\n".join([*([found[name]] if name in found else []), file.content])
    if MAIN not in found:
        raise LoadError(f"{reference}: the artifact holds no compose file", origin)
    return found
