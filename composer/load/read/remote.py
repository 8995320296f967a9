"""Remote compose files: from Git repositories (git.py) and registries (oci.py)."""

from __future__ import annotations

import os

from composer.load.errors import LoadError
from composer.load.read import git, oci

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

    from composer.load.options import Inputs
    from composer.load.read.oci import Artifacts
    from composer.load.tree.nodes import Origin

PREFIXES = (oci.PREFIX, *git.PREFIXES)
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


def fetched(
    reference: str,
    environ: Mapping[str, str],
    names: tuple[str, ...],
    artifacts: Artifacts | None,
    inputs: Inputs,
    origin: Origin | None,
) -> str:
    """Fetch a reference and return the path of its compose file; in a folder, the file has one of `names`. Records the
    fetched folder and its commit or digest in `inputs`. Raises LoadError, also when `inputs.locked` lacks the
    reference.
    """
    kind, switch = ("OCI", oci.SWITCH) if reference.startswith(oci.PREFIX) else ("git", git.SWITCH)
    wanted = environ.get(switch, "")
    if wanted in _FALSE:
        raise LoadError(f'{reference}: {kind} remote resource is disabled by "{switch}"', origin, f"unset {switch}")
    if wanted not in ("", "1", "t", "T", "TRUE", "true", "True"):
        raise LoadError(
            f'{switch} environment variable expects boolean value: "{wanted}"', origin, "set it to true or false"
        )
    if kind == "OCI":
        folder, below = oci.checkout(reference, environ, artifacts, inputs, origin)
    else:
        folder, below = git.checkout(reference, environ, inputs, origin)
    root = os.path.realpath(folder)
    inputs.fetched.add(root)
    path = os.path.realpath(os.path.join(root, below))
    if not _below(path, root):
        raise LoadError(f"{reference}: {below!r} points outside the repository", origin)
    if os.path.isdir(path):
        there = [name for name in names if os.path.exists(os.path.join(path, name))]
        if not there:
            raise LoadError(f"{reference}: no {', '.join(names)} in the repository's folder {below or '/'}", origin)
        path = os.path.realpath(os.path.join(path, there[0]))
    if not _below(path, root) or not os.path.isfile(path):
        raise LoadError(f"{reference}: there is no file {below!r} in the repository", origin)
    return path


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root + os.sep)
