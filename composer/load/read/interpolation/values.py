"""Replace variables in the values of a tree, and convert the results to numbers and booleans."""

from __future__ import annotations

from composer.load.errors import REPORTED, LoadError, raise_all
from composer.load.keys import CASTS
from composer.load.notice import UNSET, Notice
from composer.load.options import Use
from composer.load.read.casts import CastError
from composer.load.read.interpolation.expressions import MAX_LENGTH, LimitExceeded, TemplateError, substitute
from composer.load.tree.nodes import Origin, dotted, origin_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from composer.load.read.interpolation.expressions import Variable
    from composer.load.tree.nodes import Map, Path
    from composer.load.tree.patterns import Node


MAX_TOTAL = 16 * MAX_LENGTH
"""The most characters of a file's texts with their variables replaced."""


class Interpolation:
    """Replaces the variables of trees in place. `warn` is called for variables without a value."""

    def __init__(self, lookup: Mapping[str, str], warn: Callable[[str], None], uses: list[Use]) -> None:
        self.lookup, self.warn, self.uses = lookup, warn, uses
        self.errors: list[LoadError] = []
        self._warned: set[str] = set()
        self._replaced = 0

    def apply(self, root: Map) -> None:
        """Interpolate every value of a file's tree. Raises LoadError for the first error."""
        self._root, self._replaced = root, 0
        for key, value in root.items():
            root[key] = self._walk(value, CASTS.below(key), (key,))
        raise_all(self.errors[:REPORTED])

    def _walk(self, value: Any, casts: Node | None, path: Path) -> Any:
        kind = value.__class__
        if kind is str:
            return value if casts is None and "$" not in value else self._text(value, casts, path)
        if isinstance(value, dict):
            for key, entry in value.items():
                if entry.__class__ is str:
                    below = None if casts is None else casts.below(key)
                    if below is not None or "$" in entry:
                        value[key] = self._text(entry, below, (*path, key))
                elif entry.__class__ not in _PLAIN:
                    self._walk(entry, None if casts is None else casts.below(key), (*path, key))
        elif isinstance(value, list):
            below = None if casts is None else casts.any
            for index, item in enumerate(value):
                if item.__class__ is str:
                    if below is not None or "$" in item:
                        value[index] = self._text(item, below, (*path, index))
                elif item.__class__ not in _PLAIN:
                    self._walk(item, below, (*path, index))
        return value

    def _text(self, text: str, casts: Node | None, path: Path) -> Any:
        value = text
        try:
            if "$" in text:
                value = substitute(
                    text,
                    self.lookup,
                    lambda name: self._missing(name, path),
                    lambda variable: self._seen(variable, path),
                )
                self._replaced += len(value)
                if self._replaced > MAX_TOTAL:
                    raise LoadError(
                        f"{dotted(path)}: with variables replaced, the file has more than {MAX_TOTAL} characters",
                        self._place(path),
                    )
        except TemplateError as error:
            self.errors.append(self._error(error, text, path))
            return text
        if casts is None or casts.rule is None:
            return value
        try:
            return casts.rule(value)
        except CastError as error:
            variable = f" (from {text})" if text != value else ""
            self.errors.append(LoadError(f"{dotted(path)}: {error}{variable}", self._place(path)))
            return text

    def _error(self, error: TemplateError, text: str, path: Path) -> LoadError:
        if error.variable:
            return LoadError(
                f"{dotted(path)}: {error}", self._place(path), f"set {error.variable} in the environment or in .env"
            )
        if isinstance(error, LimitExceeded):
            return LoadError(f"{dotted(path)}: {error}", self._place(path))
        shown = text if len(text) < 200 else text[:200] + "…"
        return LoadError(
            f"{dotted(path)}: invalid interpolation format: {shown}",
            self._place(path),
            "variables are $NAME or ${NAME}; write $$ for a dollar sign",
        )

    def _seen(self, variable: Variable, path: Path) -> None:
        self.uses.append(Use(variable, path, self._place(path), self.lookup.get(variable.name)))

    def _missing(self, name: str, path: Path) -> None:
        if name not in self._warned:
            self._warned.add(name)
            place = self._place(path)
            where = f" ({place}: {dotted(path)})" if place else ""
            self.warn(Notice(f'The "{name}" variable is not set. Defaulting to a blank string.{where}', UNSET))

    def _place(self, path: Path) -> Origin | None:
        return origin_at(self._root, path)


_PLAIN = frozenset((int, bool, float, type(None)))
