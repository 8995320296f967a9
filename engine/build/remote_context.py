"""Remote build contexts: a Git repository, or the URL of an archive or a Dockerfile."""

from __future__ import annotations

import os
import secrets

from msgspec import structs

from engine.bounded import MIB, read_bytes
from engine.build import git, remote
from engine.build.archive import holds_tar
from engine.build.sources import Sources
from engine.errors import BuildFailed, OperationFailed
from engine.filetree.remove import remove
from engine.image import platform
from engine.image.layer import compression
from engine.image.layer.pipeline import Hashed
from engine.image.layer.unpack import unpack
from engine.spec.image import BuildSpec


def local(spec: BuildSpec, sources: Sources) -> BuildSpec:
    """`spec` with contexts that are directories or images of the store, which go with `sources`. Raises BuildFailed."""
    spec = structs.replace(spec, context=_local(spec.context, "build context", spec.dockerfile, sources, spec))
    text = _dockerfile(spec)
    named = {
        name: _local(value, f"context {name}", "", sources, spec) if text is None or _stem(name) in text else value
        for name, value in spec.additional_contexts.items()
    }
    return structs.replace(spec, additional_contexts=named)


def _stem(name: str) -> str:
    """What of a context's name every way to write it has: an image's may be without registry and tag."""
    return name.rpartition("/")[2].partition("@")[0].partition(":")[0].lower()


def _dockerfile(spec: BuildSpec) -> str | None:
    """Its text in lower case: a context that it nowhere names is not fetched. None when a variable may stand for a name."""
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
    folder = f"{sources.folder}/.context-{secrets.token_hex(8)}"
    sources.at_end(lambda: remove(folder))
    try:
        os.mkdir(folder, 0o755)
        with open(download.path, "rb") as file:
            if not holds_tar(file.fileno()):
                os.link(download.path, f"{folder}/{name or download.name}")
                return folder
            file.seek(0)
            root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                unpack(iter(Hashed(compression.chunks(file, url))), root, url, layer=False)
            finally:
                os.close(root)
    except OSError as error:
        raise OperationFailed.of(f"unpack {subject}", url, error) from error
    return folder
