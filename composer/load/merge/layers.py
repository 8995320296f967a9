"""Layers of files: each file is read, interpolated, extended, and merged into the result of the files before it.

This serves the project's own files, included files, and files that services extend. They differ in the stages that they
run and in the folder of their relative paths; `Layers` holds both.
"""

from __future__ import annotations

import os

from composer.load import keys
from composer.load.check.validate import validate
from composer.load.errors import LoadError, raise_all
from composer.load.merge import merging, unique
from composer.load.notice import OBSOLETE, Notice
from composer.load.read import sources
from composer.load.read.content import read_bytes, stream
from composer.load.read.documents import documents
from composer.load.read.interpolation.values import Interpolation
from composer.load.resolve import canonical, paths
from composer.load.resolve.normalise import environment_lists, own_contents
from composer.load.tree.nodes import Map, origin_of

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from composer.load.options import Inputs, LoadOptions
    from composer.load.read.documents import Document
    from composer.load.tree.nodes import Origin, Path


class Reading:
    """The state that all files of one project share while they are read.

    `extend` and `include` handle those keys (extends.py, include.py). They are passed in, because both create layers
    themselves.
    """

    def __init__(
        self,
        options: LoadOptions,
        inputs: Inputs,
        warn: Callable[[str], None],
        home: str,
        *,
        extend: Callable[[Layers, Document, str], None] | None = None,
        include: Callable[[Layers, Document, tuple[str, ...]], None] | None = None,
    ) -> None:
        self.extend, self.include = extend or _nothing, include or _nothing
        self.options, self.inputs, self.warn, self.home = options, inputs, warn, home
        self.contents: dict[tuple[str, str], str] = {}
        self._contents: dict[str, bytes] = {}
        self._parsed: dict[tuple[str, str], list[Document]] = {}
        self._obsolete: set[str] = set()
        self.skipped: set[tuple[str, int, int]] = set()
        """Positions (file, line, column) of entries to skip, because their errors are already known."""

    def content(self, file: str, *, named: bool = True) -> bytes:
        """The bytes of a file ("-" is standard input); each file is read once. `named`: by the user, not by another
        file."""
        if file not in self._contents:
            if file == "-" or stream(file):
                self.inputs.volatile = True
                streams = self.options.streams
                self._contents[file] = streams[file] if file in streams else read_bytes(file, named=named)
                streams[file] = self._contents[file]
            else:
                self.inputs.note(file)
                self._contents[file] = read_bytes(file, named=named)
        return self._contents[file]

    def documents(self, file: str, layer: str) -> list[Document]:
        """The documents of a file; the caller may change them."""
        found = self._parsed.pop((file, layer), None)
        if found is not None:
            return found
        return documents(self.content(file, named=layer in ("file", "override")), file, layer)

    def peek(self, file: str, layer: str) -> list[Document]:
        """The documents of a file, to look at only: the next call of `documents` returns the same ones."""
        found = self._parsed[(file, layer)] = self.documents(file, layer)
        return found

    def obsolete_version(self, file: str) -> None:
        if file not in self._obsolete:
            self._obsolete.add(file)
            text = (
                "the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion"
            )
            self.warn(Notice(f"{file}: {text}", OBSOLETE))


def _nothing(*_: Any) -> None:
    """Do nothing: for callers that read single files only."""


class Layers:
    """Files that form one tree.

    folder                the folder of their relative paths, absolute
    base                  the folder that those paths become relative to; "": they become absolute
    including             the chain of files that include this one, outermost first
    """

    def __init__(
        self,
        reading: Reading,
        files: tuple[str, ...],
        folder: str,
        environment: Mapping[str, str],
        *,
        base: str = "",
        layer: str = "file",
        including: tuple[str, ...] = (),
    ) -> None:
        self.reading, self.files, self.folder, self.environment = reading, files, folder, environment
        self.base, self.layer, self.including = base, layer, including
        self.extended: dict[str, Any] = {}

    def tree(self) -> Map:
        """The merged tree in long form, with defaults and resolved paths. Raises LoadError for errors in it."""
        from composer.load.check.constraints import constrain

        root = Map()
        for index, file in enumerate(self.files):
            layer = "override" if index and self.layer == "file" else self.layer
            root = self._over(root, file, layer)
        canonical.completed(root, keys.DEFAULTS)
        raise_all(constrain(root, keys.CHECKS))
        if self.reading.options.resolve_paths or self.base:
            self.resolve(root)
        environment_lists(root, self.environment)
        if self.layer == "include":
            self.reading.contents |= own_contents(root, self.environment)
        return root

    def resolve(self, root: Map) -> None:
        """Resolve its relative paths against the folder of these files."""
        paths.Paths(root, self.base or self.folder, self.reading.home, self.reading.warn).apply(keys.PATHS)

    def _over(self, root: Map, file: str, layer: str) -> Map:
        for document in self.read(file, layer):
            self.reading.extend(self, document, file)
            apply_resets(root, document.resets)
            if "include" in document.root:
                self.reading.include(self, document, (*self.including, file))
            root = merging.merged(root, document.root, keys.MERGES)
            unique.enforced(root, keys.UNIQUE)
            if self.reading.options.validate:
                raise_all(validate(root))
            if "version" in root:
                self.reading.obsolete_version(file)
                del root["version"]
            self.expand_short_forms(root)
            unique.enforced(root, keys.UNIQUE)
        return root

    def read(self, file: str, layer: str) -> list[Document]:
        """The documents of a file after interpolation."""
        found = self.reading.documents(file, layer)
        if self.reading.skipped:
            for document in found:
                _leave_out(document.root, self.reading.skipped)
        if self.reading.options.interpolate:
            for document in found:
                interpolation = Interpolation(self.environment, self.reading.warn, self.reading.inputs.uses)
                interpolation.apply(document.root)
                raise_all(interpolation.errors)
        for document in found:
            services = document.root.get("services", _ABSENT)
            if services is not _ABSENT and not isinstance(services, Map):
                raise LoadError(
                    f"services must be a mapping, found {'nothing' if services is None else 'something else'}",
                    document.root.origins.get("services"),
                    "indent its content below it",
                )
        return found

    def expand_short_forms(self, root: Map) -> None:
        """Replace short forms by long ones, and drop empty entries of `dns`."""
        canonical.Canonical(root, self.reading.warn, lenient=not self.reading.options.interpolate).apply(keys.CANONICAL)
        for service in root.get("services", {}).values():
            if isinstance(service, dict) and isinstance(service.get("dns"), list):
                service["dns"][:] = [server for server in service["dns"] if server]

    def local(self, path: str, origin: Origin | None) -> str:
        """The path, or for a remote file the path of its local copy (see `composer.load.read.sources.local`)."""
        options = self.reading.options
        return sources.local(path, options.environ, options, self.reading.inputs, origin)

    def path(self, path: str) -> str:
        """The absolute path for a path in one of these files."""
        return os.path.normpath(os.path.join(self.folder, path))


_ABSENT = object()


def _leave_out(value: Any, places: set[tuple[str, int, int]]) -> None:
    """Remove the entries that were written at these positions."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        origin = origin_of(value, key)
        if origin is None or (origin.file, origin.line, origin.column) not in places:
            _leave_out(value[key], places)
        elif isinstance(value, Map):
            del value[key], value.origins[key]
        else:  # drop the whole list, because messages contain the indices of its items
            value.clear()
            value.origins.clear()
            return


def apply_resets(root: Map, resets: list[Path]) -> None:
    """Remove the entries of earlier files at the places that a file resets or overrides."""
    for path in resets:
        place: Any = root
        for key in path[:-1]:
            place = place.get(key) if isinstance(place, dict) else None
        if isinstance(place, Map) and path and isinstance(path[-1], str) and path[-1] in place:
            del place[path[-1]]
            place.origins.pop(path[-1], None)
