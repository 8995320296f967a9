"""Convert a normalised tree to the canonical tree, entry by entry."""

from __future__ import annotations

from composer.load.errors import LoadError
from composer.load.keys import ELEMENTS
from composer.load.resolve import coercion
from composer.load.tree.nodes import Fields, Map, origin_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.load.tree.nodes import Path


def bound(root: Map, name: str) -> tuple[Map, list[LoadError]]:
    """The canonical tree, and the errors of entries that cannot be converted."""
    errors: list[LoadError] = []
    found = Fields({"name": name})
    found.origins = root.origins
    for element, kind in ELEMENTS.items():
        entries = root.get(element)
        if not isinstance(entries, dict):
            if element == "services":
                found[element] = Map()
            continue
        whole = Map()
        whole.origins = getattr(entries, "origins", {})
        for key in sorted(entries):
            try:
                whole[key] = kind(entries[key])
            except coercion.CoercionError as error:
                errors += [_error(root, (element, key, *one.path), str(one)) for one in error.all()]
        if whole or element == "services":
            found[element] = whole
    for key, value in sorted(root.items()):
        if key.startswith("x-"):
            found[key] = value
    return found, errors


def _error(root: Map, path: Path, message: str) -> LoadError:
    element, key, *rest = path
    inner = "".join(f"[{step}]" if isinstance(step, (int, coercion.Name)) else f".{step}" for step in rest)
    return LoadError(f"'{element}[{key}]{inner}': {message}", origin_at(root, path))
