"""`extends`: services that inherit from a service of the same file or of another one."""

from __future__ import annotations

import os

from composer.load import keys
from composer.load.errors import LoadError, did_you_mean
from composer.load.merge import merging
from composer.load.merge.layers import Layers, apply_resets
from composer.load.resolve import paths
from composer.load.tree.nodes import Map, Origin, copied, origin_of

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any

    from composer.load.read.documents import Document
    from composer.load.tree.nodes import Path

MAX_CHAIN = 100


class _File:
    """The services that may extend each other, and the places that their file resets."""

    __slots__ = ("done", "name", "resets", "services")

    def __init__(self, name: str, services: Map, resets: list[Path]) -> None:
        self.name, self.services, self.resets = name, services, resets
        self.done: set[str] = set()


def extend_all(layers: Layers, document: Document, file: str) -> None:
    """Replace every service that extends another by the merge of the two."""
    services = document.root.get("services")
    if not isinstance(services, Map):
        return
    here = _File(file, services, document.resets)
    for name in services:
        _extended(layers, here, name, ())


def _extended(layers: Layers, file: _File, name: str, trail: tuple[tuple[str, str], ...]) -> Any:
    """The service merged with what it extends; computed once, then stored in its place."""
    service = file.services[name]
    if not isinstance(service, Map) or name in file.done:
        return service  # validation reports a service that is not a mapping
    origin = file.services.origins.get(name)
    if "extends" not in service:
        file.done.add(name)
        return service
    here = (file.name, name)
    place = service.origins.get("extends") or origin
    if here in trail:
        chain = "\n  extends ".join(f"{service} in {path}" for path, service in (*trail[trail.index(here) :], here))
        raise LoadError(f"Circular reference:\n  {chain}", place)
    if len(trail) > MAX_CHAIN:
        raise LoadError(f"services.{name}: a chain of more than {MAX_CHAIN} services that extend each other", place)
    reference, other = _reference(service["extends"], name, place)
    source = file if other is None else _other(layers, other, name, place)
    if reference not in source.services:
        where = file.name if other is None else f"{file.name}: service {reference!r} not found in {other}"
        missing = f": service {reference!r} not found" if other is None else ""
        raise LoadError(
            f"cannot extend service {name!r} in {where}{missing}", place, did_you_mean(reference, source.services)
        )
    base = _extended(layers, source, reference, (*trail, here))
    if base is None:  # an empty service adds nothing
        service.pop("extends")
        file.done.add(name)
        return service
    if not isinstance(base, Map):
        raise LoadError(f"services.{reference} must be a mapping", source.services.origins.get(reference))
    base = copied(base)
    _relabel(base)
    prefix: Path = ("services", name)
    apply_resets(base, [path[2:] for path in file.resets if path[:2] == prefix and len(path) > 2])
    whole = merging.merged(base, service, keys.SERVICE_MERGES, ("services", "*"))
    whole.pop("extends", None)
    file.services[name] = whole
    file.done.add(name)
    return whole


def _reference(extends: Any, name: str, place: Origin | None) -> tuple[str, str | None]:
    """The service's name, and the file if it is a different one."""
    if isinstance(extends, str):
        return extends, None
    if not isinstance(extends, dict):
        raise LoadError(f"services.{name}.extends must be a name or a mapping", place)
    service, file = extends.get("service"), extends.get("file")
    if not isinstance(service, str):
        raise LoadError(f"extends.{name}.service is required", place)
    if file is not None and not isinstance(file, str):
        raise LoadError(f"services.{name}.extends.file must be a string", origin_of(extends, "file") or place)
    return service, file


def _other(layers: Layers, path: str, name: str, place: Origin | None) -> _File:
    """The services of another file in long form, with paths relative to this one; each file is read once."""
    file = layers.path(layers.local(os.path.expanduser(path) if path.startswith("~") else path, place))
    if file in layers.extended:
        return layers.extended[file]  # type: ignore[no-any-return]
    root = Map()
    resets: list[Path] = []
    try:
        found = layers.read(file, "extends")
    except LoadError as error:
        if error.origin is None:
            error.origin = place
        raise
    for document in found:
        apply_resets(root, document.resets)
        resets += document.resets
        root = merging.merged(root, document.root, keys.MERGES)
        from composer.load.merge import unique

        unique.enforced(root, keys.UNIQUE)
        layers.expand_short_forms(root)
        unique.enforced(root, keys.UNIQUE)
    services = root.get("services")
    if not isinstance(services, Map):
        raise LoadError(f"cannot extend service {name!r} in {file}: no services section", place)
    folder = os.path.dirname(file)
    relative = os.path.relpath(folder, layers.folder)
    paths.Paths(root, relative, layers.reading.home, layers.reading.warn).apply(keys.PATHS)
    other = layers.extended[file] = _File(file, services, resets)
    return other


def _relabel(service: Map) -> None:
    """Mark the entries as inherited (layer "extends")."""
    for key, origin in service.origins.items():
        service.origins[key] = Origin(origin.file, origin.line, origin.column, "extends", origin.overrode)
