"""Compose files as trees: YAML with positions, its anchors and merge keys, and Compose's `!reset` and `!override`.

This module builds trees from the events of the C parser, without recursion, which a hostile file could exhaust. A file
may contain several documents; each is merged over those before it.
"""

from __future__ import annotations

from yaml import YAMLError
from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from composer.load.errors import LoadError
from composer.load.read.content import decoded
from composer.load.read.scalars import plain, timestamp
from composer.load.read.syntax_error import syntax_error
from composer.load.tree.nodes import Map, Origin, Sequence, dotted

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any

    from composer.load.tree.nodes import Path

MAX_NODES = 500_000  # 5,000 large services have 300,000; with aliases written out
MAX_DEPTH = 100

RESET, OVERRIDE = "!reset", "!override"
MERGE = "tag:yaml.org,2002:merge"
_CORE = "tag:yaml.org,2002:"
_GONE = object()
_OPEN = object()
_NO_KEY = object()
_KEY = object()

_OF_ANY_SCALARS = frozenset(("environment", "labels", "annotations", "args", "sysctls", "options", "driver_opts"))
"""Keys whose mappings take dates; Compose writes them out with the time and UTC."""


class Document:
    """One YAML document. `resets` are the places whose earlier content `!reset` or `!override` removes."""

    __slots__ = ("resets", "root")

    def __init__(self, root: Map, resets: list[Path]) -> None:
        self.root, self.resets = root, resets


def documents(data: bytes, file: str, layer: str = "file") -> list[Document]:
    """The documents of a compose file. Raises LoadError with the position of the error."""
    if max(data.count(b"\n"), data.count(b",")) > 2 * MAX_NODES:  # checked first, to avoid reading a million values
        raise LoadError(f"more than {MAX_NODES} values; this is not a compose file", Origin(file, 0, 0))
    text = decoded(data, file)
    reader = _Reader(text, file, layer)
    try:
        return reader.documents()
    except YAMLError as error:
        raise syntax_error(error, text, file) from error


class _Frame:
    """A mapping or sequence under construction."""

    __slots__ = ("anchor", "container", "key", "lines", "merge", "origin", "resets_from", "tag")

    def __init__(self, container: Any, anchor: str | None, tag: str | None, resets_from: int) -> None:
        self.container, self.anchor, self.tag, self.resets_from = container, anchor, tag, resets_from
        self.key: Any = _NO_KEY
        self.origin: Origin | None = None
        self.lines: dict[str, int] | None = {} if isinstance(container, Map) else None
        self.merge: Any = _NO_KEY


class _Reader:
    def __init__(self, text: str, file: str, layer: str) -> None:
        self.parser, self.text = CParser(text), text
        self.file, self.layer = file, layer
        self.plain: dict[str, Any] = {}
        self.nodes = 0

    def documents(self) -> list[Document]:
        found: list[Document] = []
        get = self.parser.get_event
        while True:
            event: Any = get()
            kind = type(event)
            if kind is StreamEndEvent:
                return found
            if kind is DocumentStartEvent:
                mark = event.start_mark
                root, resets = self._document()
                if not isinstance(root, Map):
                    shown = "nothing" if root is None or root is _GONE else f"a {_kind(root)}"
                    raise LoadError(
                        f"top-level object must be a mapping, found {shown}",
                        Origin(self.file, mark.line + 1, mark.column + 1),
                    )
                found.append(Document(root, resets))

    def _document(self) -> tuple[Any, list[Path]]:
        get = self.parser.get_event
        stack: list[_Frame] = []
        self.stack = stack
        self.anchors: dict[str, tuple[Any, Path, list[Path]]] = {}
        self.resets: list[Path] = []
        frame: _Frame | None = None
        root: Any = None
        while True:
            event: Any = get()
            kind = type(event)
            if kind is ScalarEvent:
                value = self._scalar(frame, event)
                if value is _KEY:
                    continue
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                frame = self._opened(frame, event, Map() if kind is MappingStartEvent else Sequence())
                stack.append(frame)
                continue
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                assert frame is not None
                value = self._closed(frame, event)
                frame = stack[-1] if stack else None
                if frame is not None and frame.lines is None:
                    if value is not _GONE:
                        frame.container.put(value, frame.origin)
                    self._count(1, event)
                    continue
                event = None
            elif kind is AliasEvent:
                value = self._alias(event)
            elif kind is DocumentEndEvent:
                return root, self.resets
            else:
                continue
            self.nodes += 1
            if self.nodes > MAX_NODES:
                self._count(0, event)
            if frame is None:
                root = value
            else:
                self._put(frame, value, event)

    def _scalar(self, frame: _Frame | None, event: Any) -> Any:
        """The value of a scalar; _KEY if it is a key of the mapping in `frame`."""
        text = event.value
        is_key = frame is not None and frame.lines is not None and frame.key is _NO_KEY
        if (event.tag is None and event.implicit[0]) or event.tag == MERGE:
            if text == "<<" and is_key:
                assert frame is not None
                self._key(frame, event, text)
                frame.key = "<<"
                frame.merge = None
                return _KEY
            value = self.plain.get(text, _GONE)
            if value is _GONE:
                value = plain(text)
                if value.__class__ is str and text[:4].isdecimal() and (date := timestamp(text)):
                    value = self._timestamp(event, date)
                else:
                    self.plain[text] = value
        elif event.tag is None:
            value = text
        else:
            value = self._tagged(event)
        if is_key:
            assert frame is not None
            self._begin(frame, event, text, value)
            return _KEY
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, (), [])
        return value

    def _put(self, frame: _Frame, value: Any, event: Any) -> None:
        """Add a complete value to its container."""
        if frame.lines is None:
            if value is not _GONE:
                frame.container.put(value, self._place(event))
            return
        key = frame.key
        frame.key = _NO_KEY
        if key == "<<" and frame.merge is None:
            frame.merge = value
        elif value is not _GONE:
            frame.container[key] = value
            frame.container.origins[key] = frame.origin

    def _begin(self, frame: _Frame, event: Any, text: str, value: Any) -> None:
        """Start an entry of a mapping: the next value belongs to this key."""
        assert frame.lines is not None
        if text in frame.lines:
            self._duplicate_key(frame, event)
        mark = event.start_mark
        frame.lines[text] = mark.line
        if value.__class__ is not str:
            self._not_a_key(frame, event, value)
        frame.key = value
        frame.origin = Origin(self.file, mark.line + 1, mark.column + 1, self.layer)

    def _opened(self, frame: _Frame | None, event: Any, container: Any) -> _Frame:
        """Push a frame for the mapping or sequence that starts inside `frame`."""
        if frame is not None and frame.lines is not None and frame.key is _NO_KEY:
            self._not_a_key(frame, event, None)
        if len(self.stack) >= MAX_DEPTH:
            raise LoadError(f"nested deeper than {MAX_DEPTH} levels", self._place(event))
        if frame is not None and frame.lines is None:
            mark = event.start_mark
            frame.origin = Origin(self.file, mark.line + 1, mark.column + 1, self.layer)
        own = len(self.resets)
        if event.tag == OVERRIDE:
            self.resets.append(self._path())
        if event.anchor is not None:
            self.anchors[event.anchor] = (_OPEN, (), [])
        return _Frame(container, event.anchor, event.tag, own)

    def _closed(self, frame: _Frame, event: Any) -> Any:
        """Pop the frame of a mapping or sequence that has ended, and return its value."""
        value = frame.container
        if frame.merge is not _NO_KEY:
            self._merge(frame, event)
        self.stack.pop()
        if frame.tag == RESET:
            del self.resets[frame.resets_from :]
            self.resets.append(self._path())
            value = _GONE
        if frame.anchor is not None:
            self.anchors[frame.anchor] = (value, self._path(), self.resets[frame.resets_from :])
        return value

    def lines(self) -> list[str]:
        return self.text.split("\n")

    # ---- keys

    def _key(self, frame: _Frame, event: Any, text: str) -> None:
        assert frame.lines is not None
        if text in frame.lines:
            self._duplicate_key(frame, event)
        frame.lines[text] = event.start_mark.line

    def _duplicate_key(self, frame: _Frame, event: Any) -> None:
        assert frame.lines is not None
        path = (*self._path(frame), event.value)
        first = frame.lines[event.value] + 1
        raise LoadError(f"{dotted(path)}: key {event.value!r} is already defined at line {first}", self._place(event))

    def _not_a_key(self, frame: _Frame, event: Any, value: Any) -> None:
        where = dotted(self._path(frame))
        place = f"in {where}" if where else "at top level"
        if isinstance(event, ScalarEvent):
            shown = event.value or "null"
            hint = f'write "{shown}" to get a string'
        else:
            mark = event.start_mark
            shown = self.lines()[mark.line][mark.column : mark.column + 60].strip()
            hint = "put text that starts with { or [ in quotes"
        raise LoadError(f"non-string key {place}: {shown}", self._place(event), hint)

    # ---- tags

    def _tagged(self, event: Any) -> Any:
        tag, text = event.tag, event.value
        if tag == RESET:
            self.resets.append(self._path())
            return _GONE
        if tag == OVERRIDE:
            self.resets.append(self._path())
            return text
        if not tag.startswith(_CORE):
            return text
        name = tag[len(_CORE) :]
        if name == "binary":
            from base64 import b64decode

            try:
                return b64decode(text).decode("utf-8", "replace")
            except ValueError as error:
                raise LoadError("the value of !!binary is not base64", self._place(event)) from error
        if name not in ("null", "bool", "int", "float"):
            return text
        value = plain(text)
        if name == "float" and type(value) is int:
            value = float(value)
        wanted = {"null": type(None), "bool": bool, "int": int, "float": float}[name]
        if type(value) is not wanted:
            raise LoadError(f"cannot read {text!r} as a !!{name}", self._place(event))
        return value

    def _timestamp(self, event: Any, date: str) -> str:
        """The value of a date: a string where Compose takes any scalar. Raises LoadError elsewhere."""
        path = self._path()
        if any(isinstance(key, str) and key.startswith("x-") for key in path):
            return str(event.value)
        if len(path) > 1 and path[-2] in _OF_ANY_SCALARS and isinstance(path[-1], str):
            return date
        raise LoadError(
            f"{dotted(path)}: {event.value} is a date in YAML, which this key does not accept",
            self._place(event),
            f'write "{event.value}" to get a string',
        )

    # ---- anchors

    def _alias(self, event: Any) -> Any:
        known = self.anchors.get(event.anchor)
        if known is None:
            raise LoadError(f"unknown anchor {event.anchor!r}", self._place(event), self._near_anchor(event.anchor))
        value, path, resets = known
        if value is _OPEN:
            raise LoadError(f"cycle detected: anchor {event.anchor!r} contains itself", self._place(event))
        here = self._path()
        self.resets += [(*here, *reset[len(path) :]) for reset in resets]
        return self._copied(value, event)

    def _near_anchor(self, name: str) -> str:
        from composer.load.errors import did_you_mean

        return did_you_mean(name, self.anchors)

    def _copied(self, value: Any, event: Any) -> Any:
        """A copy whose nodes count towards the limit: a few aliases of aliases can expand to billions of nodes."""
        if isinstance(value, Map):
            self._count(len(value), event)
            return Map({key: self._copied(entry, event) for key, entry in value.items()}, dict(value.origins))
        if isinstance(value, Sequence):
            self._count(len(value), event)
            return Sequence([self._copied(item, event) for item in value], list(value.origins))
        return value

    def _count(self, nodes: int, event: Any) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise LoadError(
                f"more than {MAX_NODES} values, with aliases written out; this is not a compose file",
                self._place(event) if event is not None else Origin(self.file, 0, 0),
            )

    # ---- merge keys

    def _merge(self, frame: _Frame, event: Any) -> None:
        """Apply `<<`: add the mappings' entries that the container does not have; earlier mappings win."""
        container = frame.container
        sources = frame.merge if isinstance(frame.merge, Sequence) else [frame.merge]
        for source in sources:
            if source is _GONE:
                continue
            if not isinstance(source, Map):
                where = dotted((*self._path(frame)[:], "<<"))
                raise LoadError(f"{where}: a merge key takes a mapping or a sequence of mappings", self._place(event))
            for key, value in source.items():
                if key not in container:
                    container.place(key, value, source.origins.get(key))

    # ---- paths

    def _place(self, event: Any) -> Origin:
        mark = event.start_mark
        return Origin(self.file, mark.line + 1, mark.column + 1, self.layer)

    def _path(self, last: _Frame | None = None) -> Path:
        """The path of the current value, or of the frame `last`. Merge keys are not part of it."""
        path: list[str | int] = []
        for frame in self.stack:
            if frame is last:
                break
            if frame.lines is None:
                path.append(len(frame.container))
            elif frame.key is not _NO_KEY and not (frame.key == "<<" and frame.merge is None):
                path.append(frame.key)
        return tuple(path)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "mapping"
    if isinstance(value, list):
        return "sequence"
    return {str: "string", bool: "boolean", int: "number", float: "number"}.get(type(value), "null")
