"""The pipeline: files and environment in, the project out."""

from __future__ import annotations

from composer.load.options import Loaded, LoadOptions

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.model import Project

__all__ = ["LoadOptions", "Loaded", "load", "load_tree", "project_name"]


def load_tree(options: LoadOptions) -> Loaded:
    """Read, merge, check and normalise a project's files. LoadError says what is wrong with them, and where."""
    raise NotImplementedError


def load(options: LoadOptions) -> Project:
    """The same as the typed model."""
    from composer.model import Project

    loaded = load_tree(options)
    return Project.from_loaded(loaded)


def project_name(options: LoadOptions) -> str:
    """The project's name, reading no more than that needs."""
    raise NotImplementedError
