"""The cache of fetched files: `$XDG_CACHE_HOME/composer/KIND/KEY`, one folder for each fetched commit or digest."""

from __future__ import annotations

import contextlib
import os

from composer.load.errors import LoadError

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from composer.load.tree.nodes import Origin


def folder(environ: Mapping[str, str], kind: str, key: str) -> str:
    """The folder's path, whether it exists or not."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "/"), ".cache")
    return os.path.join(base, "composer", kind, key)


@contextlib.contextmanager
def filled(path: str, reference: str, origin: Origin | None) -> Iterator[str]:
    """A context manager with an empty folder. It becomes `path` when the block ends, and is removed when the block
    raises. Folders of killed commands are removed. Raises LoadError, which names `reference`, when the folder cannot be
    created."""
    from engine.temporary_directory import temporary

    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with temporary(os.path.dirname(path)) as made:
            yield made
            try:
                os.rename(made, path)
            except OSError:
                if not os.path.isdir(path):  # another command has filled it first
                    raise
    except OSError as error:
        raise LoadError(f"cannot cache {reference} in {path}: {error.strerror}", origin) from None
