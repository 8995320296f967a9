"""Where fetched files are kept: `$XDG_CACHE_HOME/composer/KIND/KEY`, a folder for each state of what was fetched."""

from __future__ import annotations

import contextlib
import os

from composer.load.errors import LoadError

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from composer.load.tree.nodes import Origin


def folder(environ: Mapping[str, str], kind: str, key: str) -> str:
    """Its path, whether it is there or not."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "/"), ".cache")
    return os.path.join(base, "composer", kind, key)


@contextlib.contextmanager
def filled(path: str, reference: str, origin: Origin | None) -> Iterator[str]:
    """An empty folder, which appears as `path` when the block ends, and is gone when it raises. LoadError when that fails;
    `reference` says what should have been kept."""
    import shutil
    import tempfile

    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        made = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(path))
        try:
            yield made
            if not os.path.isdir(path):  # another command may have been faster
                os.rename(made, path)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise LoadError(f"cannot cache {reference} in {path}: {error.strerror}", origin) from None
