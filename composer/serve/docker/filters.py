"""`filters` of the Docker API: a JSON object of name → values, a value fits when any of them does.

Clients of before 1.22 send values as a list, later ones as an object of value → true; both are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from composer.serve.http.errors import BadRequest


class Filters:
    """What a listing is narrowed to. Unknown names are refused, as Docker refuses them."""

    def __init__(self, text: str, known: Iterable[str]) -> None:
        self._values: dict[str, list[str]] = {}
        if not text:
            return
        try:
            given = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise BadRequest("invalid filter") from None
        if not isinstance(given, dict):
            raise BadRequest("invalid filter")
        known = set(known)
        for name, values in given.items():
            if name not in known:
                raise BadRequest(f"invalid filter '{name}'")
            self._values[name] = _values(values)

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def get(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def any(self, name: str, fits: Callable[[str], bool]) -> bool:
        """Whether one of the values fits; true when there is none."""
        values = self.get(name)
        return not values or any(fits(value) for value in values)

    def labels(self, labels: Mapping[str, str], name: str = "label") -> bool:
        """Whether an object has all these labels: `key`, or `key=value`."""
        for wanted in self.get(name):
            key, equals, value = wanted.partition("=")
            if key not in labels or (equals and labels[key] != value):
                return False
        return True

    def boolean(self, name: str) -> bool | None:
        """A filter that is true or false; None when it is not given. BadRequest."""
        values = self.get(name)
        if not values:
            return None
        if len(values) == 1 and values[0] in ("1", "true", "True", "t", "T", "TRUE"):
            return True
        if len(values) == 1 and values[0] in ("0", "false", "False", "f", "F", "FALSE"):
            return False
        raise BadRequest(f"invalid filter '{name}={values}'")


def _values(values: object) -> list[str]:
    if isinstance(values, dict):
        return [str(value) for value, wanted in values.items() if wanted]
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return values
    raise BadRequest("invalid filter")


def matches(pattern: str, text: str) -> bool:
    """Docker's match of a name: a regular expression found anywhere in it; what is none is looked for as it is."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text
