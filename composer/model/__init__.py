"""The typed project (pydantic), one file for each element of the specification.

Pydantic looks for plugins among all installed packages. Here it finds none: the search takes 15 ms, and a program that
runs as root should not load code of other packages.
"""

import sys
from contextlib import suppress
from types import SimpleNamespace

_METADATA = "importlib.metadata"
_absent = _METADATA not in sys.modules
if _absent:
    sys.modules[_METADATA] = SimpleNamespace(entry_points=lambda **group: ())  # type: ignore[assignment]
try:
    with suppress(ImportError):  # a private name: without it, pydantic searches for plugins, which only costs time
        import pydantic.plugin._loader  # noqa: F401
finally:
    if _absent:
        del sys.modules[_METADATA]

# isort: split
from composer.model.project import ModelError, Project  # noqa: E402
from composer.model.service import Service  # noqa: E402

__all__ = ["ModelError", "Project", "Service"]
