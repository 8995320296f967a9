"""Remote build contexts: a Git repository, or the URL of an archive or a Dockerfile."""

from __future__ import annotations

import os
import secrets
from typing import IO

from msgspec import structs

from engine.bounded_read import MIB, read_bytes
from engine.build import git, remote
from engine.build.archive import holds_tar
from engine.build.sources import Sources
from engine.errors import BuildFailed, OperationFailed
from engine.image import platform
from engine.image.layer import compression
from engine.image.layer.pipeline import Hashed
from engine.image.layer.unpack import unpack
from engine.spec.image import BuildSpec


def local(spec: BuildSpec, sources: Sources) -> BuildSpec:
    """`spec` with contexts that are directories or images in the store, removed when `sources` is closed. Raises
    BuildFailed."""
    if spec.archive:
        spec = _from_archive(spec, sources)
    if spec.dockerfile_inline is None and remote.is_url(spec.dockerfile):
        spec = structs.replace(
            spec, dockerfile_inline=_text(remote.fetch(spec.dockerfile, "", sources, "Dockerfile").path)
        )
    if git.is_git(spec.context):
        sources.remote = git.parse(spec.context).key
    elif remote.is_remote(spec.context):
        sources.remote = spec.context
    spec = structs.replace(spec, context=_local(spec.context, "build context", spec.dockerfile, sources, spec))
    text = _dockerfile(spec)
    for name, value in spec.additional_contexts.items():
        _check_directory(name, value)
    named = {
        name: _local(value, f"context {name}", "", sources, spec) if text is None or _stem(name) in text else value
        for name, value in spec.additional_contexts.items()
    }
    return structs.replace(spec, additional_contexts=named)


def _check_directory(name: str, value: str) -> None:
    """Whether a context on this machine is there, used or not. Raises BuildFailed."""
    if "://" in value or is_elsewhere(value):
        return
    try:
        os.stat(value)
    except OSError as error:
        raise BuildFailed(f"cannot open the build context {name}, {value}: {(error.strerror or '').lower()}") from None


def _stem(name: str) -> str:
    """The part of a context's name that every spelling contains: an image's name may lack registry and tag."""
    return name.rpartition("/")[2].partition("@")[0].partition(":")[0].lower()


def _dockerfile(spec: BuildSpec) -> str | None:
    """The Dockerfile's text in lower case: contexts that it does not name are not fetched. None if a variable may hold
    a name."""
    text = spec.dockerfile_inline
    try:
        text = text or read_bytes(os.path.join(spec.context, spec.dockerfile), 16 * MIB, "a Dockerfile").decode()
    except (OSError, UnicodeDecodeError):
        return None
    return None if "$" in text else text.lower()


def is_elsewhere(text: str) -> bool:
    """Whether a context has to be fetched."""
    return git.is_git(text) or remote.is_remote(text)


def _local(text: str, subject: str, name: str, sources: Sources, spec: BuildSpec) -> str:
    if git.is_git(text):
        repository = git.pinned(text, sources)
        folder = git.clone(repository, sources, keep_git_dir=False)
        return _inside(folder, repository.subdir, text)
    if text.startswith("oci-layout://"):
        from engine.build import layout

        wanted = platform.parse(spec.platforms[0]) if spec.platforms else platform.host()
        return layout.context(text, sources, wanted)
    return _download(text, subject, name, sources) if remote.is_remote(text) else text


def _inside(folder: str, below: str, context: str) -> str:
    """A directory of the repository; its links cannot lead outside."""
    path = os.path.realpath(f"{folder}/{below}")
    root = os.path.realpath(folder)
    if not os.path.isdir(path) or os.path.commonpath((path, root)) != root:
        raise BuildFailed(f"the build context {context}: there is no directory {below} in the repository")
    return path


def _download(url: str, subject: str, name: str, sources: Sources) -> str:
    """Unpack an archive; any other file is the only one in the context, called `name` (the Dockerfile), or as in the URL."""
    download = remote.fetch(url, "", sources, subject)
    with open(download.path, "rb") as file:
        if holds_tar(file.fileno()):
            return _unpacked(file, url, subject, sources)
    folder = _folder(sources)
    try:
        os.link(download.path, f"{folder}/{name or download.name}")
    except OSError as error:
        raise OperationFailed.of(f"unpack {subject}", url, error) from error
    return folder


def _from_archive(spec: BuildSpec, sources: Sources) -> BuildSpec:
    """The context from stdin: an archive, or else a Dockerfile with an empty context."""
    with open(spec.archive, "rb") as file:
        if holds_tar(file.fileno()):
            return structs.replace(spec, context=_unpacked(file, "from stdin", "build context", sources))
    text = _text(spec.archive)
    if not text.strip():
        raise BuildFailed("the build context on stdin is empty: it must be an archive or a Dockerfile")
    return structs.replace(spec, context=_folder(sources), dockerfile="stdin", dockerfile_inline=text)


def _text(path: str) -> str:
    try:
        return read_bytes(path, 16 * MIB, "a Dockerfile").decode()
    except UnicodeDecodeError as error:
        raise BuildFailed(f"this is neither an archive nor a Dockerfile, which would be UTF-8 text: {error}") from error


def _folder(sources: Sources) -> str:
    """A new directory, removed at the build's end."""
    folder = f"{sources.temporary}/context-{secrets.token_hex(8)}"
    os.mkdir(folder, 0o755)
    return folder


def _unpacked(file: IO[bytes], name: str, subject: str, sources: Sources) -> str:
    folder = _folder(sources)
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file.seek(0)
        unpack(iter(Hashed(compression.chunks(file, f"the {subject} {name}"))), root, name, layer=False)
    except OSError as error:
        raise OperationFailed.of(f"unpack {subject}", name, error) from error
    finally:
        os.close(root)
    return folder
