"""`include`: other projects as parts of this one, each with its own folder and variables."""

from __future__ import annotations

import os

from composer.load import keys
from composer.load.errors import LoadError, nearest
from composer.load.merge import merging
from composer.load.merge.layers import Layers, apply_resets
from composer.load.read.sources import read_env_files
from composer.load.tree.nodes import Map, Origin, Sequence, origin_of

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from composer.load.read.documents import Document

ELEMENTS = ("services", "jobs", "volumes", "networks", "secrets", "configs", "models")
KEYS = ("path", "project_directory", "env_file")


class Inclusion:
    """One entry of `include`."""

    __slots__ = ("env_files", "folder", "origin", "paths")

    def __init__(self, paths: list[str], folder: str, env_files: list[str], origin: Origin | None) -> None:
        self.paths, self.folder, self.env_files, self.origin = paths, folder, env_files, origin


def include_all(layers: Layers, document: Document, trail: tuple[str, ...]) -> None:
    """Merge the included files into a file's tree and remove `include` from it. `trail` ends with the file. The
    including file overrides the included definitions; of two included files, the earlier one wins.
    """
    root = document.root
    for inclusion in _entries(root, layers.reading.warn):
        imported = _included(layers, inclusion, trail)
        for element in ELEMENTS:
            _take(document, imported, element)
    del root["include"]


def _entries(root: Map, warn: Callable[[str], None]) -> list[Inclusion]:
    entries, origin = root["include"], root.origins.get("include")
    if entries is None:
        return []
    if not isinstance(entries, Sequence):
        raise LoadError("`include` must be a list", origin)
    for index, entry in enumerate(entries):
        for key in entry if isinstance(entry, dict) else ():
            if key not in KEYS and not key.startswith("x-"):
                near = f"; did you mean {nearest(key, KEYS)!r}?" if nearest(key, KEYS) else ""
                warn(f"{origin_of(entry, key)}: include[{index}]: unknown key {key!r} is ignored{near}")
    found = [_entry(entry, index, origin_of(entries, index) or origin) for index, entry in enumerate(entries)]
    return [inclusion for inclusion in found if inclusion.paths or inclusion.env_files]


def _entry(entry: Any, index: int, origin: Origin | None) -> Inclusion:
    if isinstance(entry, str):
        return Inclusion([entry], "", [], origin)
    if entry is None:
        return Inclusion([], "", [], origin)
    if not isinstance(entry, dict):
        raise LoadError(f"include[{index}] must be a path or a mapping with {', '.join(KEYS)}", origin)
    paths = _texts(entry, "path", index, origin)
    folder = entry.get("project_directory")
    if isinstance(folder, int) and not isinstance(folder, bool):
        folder = str(folder)
    if folder is not None and not isinstance(folder, str):
        raise LoadError(f"include[{index}].project_directory must be a string", origin_of(entry, "project_directory"))
    return Inclusion(paths, folder or "", _texts(entry, "env_file", index, origin), origin)


def _texts(entry: Any, key: str, index: int, origin: Origin | None) -> list[str]:
    value = entry.get(key)
    if value is None:
        return []
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise LoadError(
            f"include[{index}].{key} must be a string or a list of strings", origin_of(entry, key) or origin
        )
    return list(texts)


def _included(layers: Layers, inclusion: Inclusion, trail: tuple[str, ...]) -> Map:
    if not inclusion.paths:  # the files are not merged, but must exist
        named = _env_files(layers, inclusion, layers.folder)
        read_env_files(named, dict(layers.environment), layers.reading.inputs, layers.reading.warn)
        return Map()
    files = tuple(layers.path(layers.local(path, inclusion.origin)) for path in inclusion.paths)
    if files[0] in trail:
        lines = "\n include ".join((*trail[1:], files[0]))
        raise LoadError(f"include cycle detected:\n{trail[0]}\n include {lines}", inclusion.origin)
    if len(trail) > 100:
        raise LoadError("files are included more than 100 levels deep", inclusion.origin)
    folder = layers.path(inclusion.folder) if inclusion.folder else os.path.dirname(files[0])
    # Compose treats a missing folder as a file, and uses its parent folder
    start = folder if os.path.isdir(folder) else os.path.dirname(folder)
    base = inclusion.folder if os.path.isabs(inclusion.folder) else os.path.relpath(start, layers.folder)
    variables = read_env_files(
        _env_files(layers, inclusion, folder), dict(layers.environment), layers.reading.inputs, layers.reading.warn
    )
    inner = Layers(
        layers.reading,
        files,
        folder,
        _with(layers, variables) if variables else layers.environment,
        base=base,
        layer="include",
        including=trail,
    )
    try:
        return inner.tree()
    except LoadError as error:
        if error.origin is None and inclusion.origin is not None:
            error.origin = inclusion.origin
        raise


def _with(layers: Layers, variables: dict[str, str]) -> Any:
    from composer.load.options import Environment

    return Environment({**variables, **layers.environment}, layers.reading.inputs)


def _env_files(layers: Layers, inclusion: Inclusion, folder: str) -> tuple[str, ...]:
    if inclusion.env_files:
        files = tuple(layers.path(path) for path in inclusion.env_files)
        for file in files:
            if not os.path.exists(file):
                raise LoadError(f"stat {file}: no such file or directory", inclusion.origin)
            if os.path.isdir(file):
                raise LoadError(f"{file} is not a file", inclusion.origin)
        return files
    default = os.path.join(folder, ".env")
    layers.reading.inputs.note(default)
    return (default,) if os.path.isfile(default) else ()


def _take(document: Document, imported: Map, element: str) -> None:
    theirs = imported.get(element)
    if theirs is None:
        return
    root = document.root
    mine = root.get(element)
    if mine is None:
        mine = Map()
        root.place(element, mine, imported.origins.get(element))
    for name, value in theirs.items():
        origin = theirs.origins.get(name)
        if name not in mine:
            mine.place(name, value, origin)
            continue
        base = Map({element: Map({name: value}, {name: origin} if origin else {})})
        apply_resets(base, [path for path in document.resets if path[:2] == (element, name) and len(path) > 2])
        own = Map({name: mine[name]}, {name: mine.origins[name]} if name in mine.origins else {})
        whole = merging.merged(base, Map({element: own}), keys.MERGES)[element]
        mine.place(name, whole[name], whole.origins.get(name))
