"""Remote build contexts: a Git repository, or the URL of an archive or a Dockerfile."""

from __future__ import annotations

import os
import secrets

from msgspec import structs

from engine.build import git, remote
from engine.build.archive import holds_tar
from engine.build.sources import Sources
from engine.errors import BuildFailed, OperationFailed
from engine.filetree.remove import remove
from engine.image.layer import compression
from engine.image.layer.pipeline import Hashed
from engine.image.layer.unpack import unpack
from engine.spec.image import BuildSpec


def local(spec: BuildSpec, sources: Sources) -> BuildSpec:
    """`spec` with a local directory as context, which `sources` removes. Raises BuildFailed."""
    if git.is_git(spec.context):
        repository = git.pinned(spec.context, sources)
        folder = git.clone(repository, sources, keep_git_dir=False)
        return structs.replace(spec, context=_inside(folder, repository.subdir, spec.context))
    if remote.is_remote(spec.context):
        return structs.replace(spec, context=_download(spec, sources))
    return spec


def _inside(folder: str, below: str, context: str) -> str:
    """A directory of the repository; its links cannot lead outside."""
    path = os.path.realpath(f"{folder}/{below}")
    root = os.path.realpath(folder)
    if not os.path.isdir(path) or os.path.commonpath((path, root)) != root:
        raise BuildFailed(f"the build context {context}: there is no directory {below} in the repository")
    return path


def _download(spec: BuildSpec, sources: Sources) -> str:
    """Unpack an archive; any other file is the Dockerfile, without other files in the context."""
    download = remote.fetch(spec.context, "", sources, "build context")
    folder = f"{sources.folder}/.context-{secrets.token_hex(8)}"
    sources.at_end(lambda: remove(folder))
    try:
        os.mkdir(folder, 0o755)
        with open(download.path, "rb") as file:
            if not holds_tar(file.fileno()):
                os.link(download.path, f"{folder}/{spec.dockerfile}")
                return folder
            file.seek(0)
            root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                unpack(iter(Hashed(compression.chunks(file, spec.context))), root, spec.context, layer=False)
            finally:
                os.close(root)
    except OSError as error:
        raise OperationFailed.of("unpack build context", spec.context, error) from error
    return folder
