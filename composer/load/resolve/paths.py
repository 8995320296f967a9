"""Resolve relative paths against the folder of the file that contains them; `~` is the home folder."""

from __future__ import annotations

import os

from composer.load.errors import LoadError
from composer.load.tree.nodes import Map, dotted, origin_at
from composer.load.tree.patterns import Node, applied

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from composer.load.tree.nodes import Path

_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")


class Paths:
    """Makes the paths of a tree absolute in place, or relative to the folder that `folder` is relative to."""

    def __init__(self, root: Map, folder: str, home: str, warn: Callable[[str], None]) -> None:
        self.root, self.folder, self.home, self.warn = root, folder, home, warn

    def apply(self, rules: Node) -> None:
        applied(self.root, rules, lambda rule, value, path: rule(self, value, path))

    def local(self, value: Any, path: Path = ()) -> Any:
        """A path on this machine."""
        if not isinstance(value, str):
            return value
        value = self.expanded(value)
        return value if not value or value.startswith("/") else joined(self.folder, value)

    def mounted(self, value: Any, path: Path = ()) -> Any:
        """A path on the machine that runs the containers. Windows paths stay as they are."""
        if not isinstance(value, str):
            return value
        value = self.expanded(value)
        return value if value.startswith("/") or is_windows(value) else joined(self.folder, value)

    def expanded(self, value: str) -> str:
        if not value.startswith("~"):
            return value
        if not self.home:
            self.warn("cannot expand '~', because the environment lacks HOME")
            return value
        return joined(self.home, value[1:])

    def context(self, value: Any, path: Path) -> Any:
        """A build context: a folder, a repository, an image, or another service's image."""
        if not isinstance(value, str) or "://" in value or value.startswith(("service:", *_REMOTE)):
            return value
        return self.local(value)

    def watched(self, value: Any, path: Path) -> Any:
        """A folder to watch, with symbolic links resolved."""
        value = self.local(value)
        if not isinstance(value, str) or not os.path.isabs(value):
            return value
        return os.path.realpath(value)

    def mount(self, value: Any, path: Path) -> Any:
        if not isinstance(value, dict) or value.get("type") != "bind":
            return value
        if "source" not in value:
            raise LoadError(
                f'{dotted(path)}: invalid mount config for type "bind": field Source must not be empty',
                origin_at(self.root, path),
            )
        value["source"] = self.mounted(value["source"])
        return value

    def volume(self, value: Any, path: Path) -> Any:
        """The source of a `local` volume whose options make it a bind mount."""
        if isinstance(value, dict) and value.get("driver") == "local" and isinstance(value.get("driver_opts"), dict):
            options = value["driver_opts"]
            if options.get("o") == "bind" and "device" in options:
                options["device"] = self.mounted(options["device"])
        return value


def joined(folder: str, path: str) -> str:
    """The joined path without `.`, `..` and repeated slashes."""
    joined = os.path.normpath(f"{folder}/{path}" if folder else path)
    return joined[1:] if joined.startswith("//") else joined


def is_windows(path: str) -> bool:
    r"""Whether this is an absolute Windows path: C:\…, C:/…, \\host\share, \\.\pipe\name."""
    if len(path) > 1 and path[1] == ":":
        return path[2:3] in ("\\", "/") and bool(path[2:3])
    return len(path) > 1 and path[0] in "\\/" and path[1] in "\\/"
