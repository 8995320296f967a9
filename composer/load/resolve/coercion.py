"""Coercion to the canonical form: a coercer is a function from a value as written to its canonical form.

It returns OMITTED if the canonical file leaves the value out, and raises CoercionError for an invalid value. See
scalar_coercers.py and collection_coercers.py.
"""

from __future__ import annotations

from composer.load.tree.text import text_of

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from composer.load.tree.nodes import Path

    Coercer = Callable[[Any], Any]


class _Omitted:
    """The value is left out of the canonical file."""


OMITTED: Any = _Omitted()


class Name(str):
    """A step of an error's path that is a name of the user's choice: `depends_on[db]`, not `depends_on.db`."""

    __slots__ = ()


class CoercionError(ValueError):
    """The value is invalid. `path` leads from the container that reports the error to the value. `more` are further errors in
    it."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path
        self.more: list[CoercionError] = []

    def all(self) -> list[CoercionError]:
        """This error and the further ones."""
        return [self, *self.more]

    def below(self, key: str | int) -> CoercionError:
        """The same error, with a path that starts one level up, at `key`."""
        for error in self.all():
            error.path = (key, *error.path)
        return self


def together(errors: list[CoercionError]) -> CoercionError:
    """Several errors as one to raise."""
    first, *others = errors
    first.more = others
    return first


def shown(value: Any) -> str:
    """The value as a message names it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value) if isinstance(value, str) else text_of(value)
