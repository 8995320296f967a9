"""The published form of one compose file: its text, with plain names for the files that it refers to.

An artifact is a flat folder. Files that services extend and env files are named by a digest of their path, so that the
publisher's directories are not revealed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml
from msgspec import Struct

from composer.load.errors import LoadError
from composer.load.read.content import decoded
from composer.load.read.documents import MERGE
from composer.load.read.interpolation.expressions import TemplateError, substitute
from composer.load.read.sources import is_remote

if TYPE_CHECKING:
    from yaml import Node, ScalarNode

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")
"""An anchor or tag before a value (YAML 1.2, 6.9)."""


class Source(Struct, frozen=True, kw_only=True):
    """`extended` and `env_files`: absolute path of an existing file → its name in the artifact. `included` are the
    local files in its `include`, as written."""

    content: bytes
    extended: dict[str, str]
    env_files: dict[str, str]
    included: tuple[str, ...]


def read(path: str, content: bytes, environment: Mapping[str, str]) -> Source:
    """The published form of the compose file `path`; file names are interpolated with `environment`. Raises
    LoadError."""
    text = decoded(content, path)
    try:
        roots = [root for root in yaml.compose_all(text, Loader=yaml.SafeLoader) if isinstance(root, yaml.MappingNode)]
    except yaml.YAMLError as error:
        raise LoadError(f"{path}: {error}") from error
    folder = os.path.dirname(path)

    def named(node: ScalarNode) -> str:
        try:
            name = substitute(node.value, environment)
        except TemplateError as error:
            raise LoadError(f"{path}:{node.start_mark.line + 1}: {error}") from error
        return name if is_remote(name) else os.path.normpath(os.path.join(folder, os.path.expanduser(name)))

    changes: dict[int, tuple[ScalarNode, str]] = {}
    extended: dict[str, str] = {}
    env_files: dict[str, str] = {}
    included: list[str] = []
    for root in roots:
        for service in _services(root):
            for node in _under(service, "extends", "file"):
                file = named(node)
                if not is_remote(file) and os.path.exists(file):
                    extended[file] = _hidden(file, "yaml")
                    changes[id(node)] = node, extended[file]
            for node in _paths(service, "env_file"):
                file = named(node)
                if os.path.exists(file):
                    env_files[file] = _hidden(file, "env")
                changes[id(node)] = node, _hidden(file, "env")
        included += [node.value for node in _paths(root, "include") if not is_remote(named(node))]
    changed = _replaced(text, changes.values())
    return Source(content=changed.encode(), extended=extended, env_files=env_files, included=tuple(included))


def _hidden(path: str, ending: str) -> str:
    return f"{hashlib.sha256(path.encode()).hexdigest()}.{ending}"


def _replaced(text: str, changes: Any) -> str:
    """The text with some scalars replaced, last one first, so that earlier positions stay valid."""
    for node, value in sorted(changes, key=lambda change: -change[0].start_mark.index):
        start, end = node.start_mark.index, node.end_mark.index
        if properties := _PROPERTIES.match(text, start):
            start = properties.end()
        if node.style in ("|", ">"):  # a block ends with its line break
            value, end = f"{value}\n", len(text[:end].rstrip()) + 1
        text = f"{text[:start]}{value}{text[end:]}"
    return text


def _entries(node: Node) -> Iterator[tuple[str, Node]]:
    """Keys and values of a mapping, including merged ones."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.tag == MERGE:
            for merged in value.value if isinstance(value, yaml.SequenceNode) else (value,):
                yield from _entries(merged)
        else:
            yield str(key.value), value


def _services(root: Node) -> Iterator[Node]:
    for key, services in _entries(root):
        if key in ("services", "jobs"):
            yield from (service for _, service in _entries(services))


def _under(node: Node, key: str, inner: str) -> Iterator[ScalarNode]:
    for name, value in _entries(node):
        if name == key:
            yield from (v for n, v in _entries(value) if n == inner and isinstance(v, yaml.ScalarNode))


def _items(node: Node, key: str) -> Iterator[Node]:
    """The value of a key as a list."""
    for name, value in _entries(node):
        if name == key:
            yield from value.value if isinstance(value, yaml.SequenceNode) else (value,)


def _paths(node: Node, key: str) -> Iterator[ScalarNode]:
    """The scalars of a list of paths and of mappings with a `path`."""
    for item in _items(node, key):
        if isinstance(item, yaml.ScalarNode):
            yield item
        else:
            yield from (path for path in _items(item, "path") if isinstance(path, yaml.ScalarNode))
