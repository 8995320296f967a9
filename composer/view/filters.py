"""Filters of listings: name → values, of which one must fit (of labels, all).

Commands take `--filter name=value`. The Docker API takes a JSON object: clients of before 1.22 send values as a list, later
ones as an object of value → true; both are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)

# isort: split
import msgspec

from composer.view.api_format import parse_timestamp
from composer.view.errors import Refusal


class Filters:
    """The filters of a listing. Unknown names are refused, as in Docker."""

    def __init__(self, values: Mapping[str, list[str]], known: Iterable[str]) -> None:
        known = set(known)
        for name in values:
            if name not in known:
                raise Refusal(f"invalid filter '{name}'")
        self._values = values

    @classmethod
    def of_json(cls, text: str, known: Iterable[str], *, strict: bool = True) -> Filters:
        """The parameter `filters` of a request. Without `strict`, unknown ones have no effect. Raises Refusal."""
        if not text:
            return cls({}, known)
        try:
            given = msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise Refusal("invalid filter") from None
        if not isinstance(given, dict):
            raise Refusal("invalid filter")
        known = tuple(known)
        return cls({name: _values(values) for name, values in given.items() if strict or name in known}, known)

    @classmethod
    def of_flags(cls, texts: Iterable[str], known: Iterable[str]) -> Filters:
        """`--filter name=value`, and `name!=value` where a negation is supported. Raises Refusal."""
        values: dict[str, list[str]] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise Refusal(f"invalid filter '{text}': expected name=value")
            values.setdefault(name.strip().lower(), []).append(value.strip())
        return cls(values, known)

    def __bool__(self) -> bool:
        """Whether anything is filtered."""
        return any(self._values.values())

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def get(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def any(self, name: str, fits: Callable[[str], bool]) -> bool:
        """Whether one of the values matches; True if there are none."""
        values = self.get(name)
        return not values or any(fits(value) for value in values)

    def labels(self, labels: Mapping[str, str], name: str = "label") -> bool:
        """Whether an object has all these labels: `key`, or `key=value`."""
        for wanted in self.get(name):
            key, equals, value = wanted.partition("=")
            if key not in labels or (equals and labels[key] != value):
                return False
        return True

    def labelled(self, labels: Mapping[str, str]) -> bool:
        """Whether an object has all labels of `label`, and not those of `label!`."""
        return self.labels(labels) and not (self.get("label!") and self.labels(labels, "label!"))

    def before(self, name: str = "until") -> float | None:
        """The earliest point in time that the filter gives, in seconds since the epoch; None if it is not given. Raises
        Refusal."""
        try:
            return min((parse_timestamp(text) or 0.0 for text in self.get(name)), default=None)
        except ValueError:
            wrong = next((text for text in self.get(name) if not _is_timestamp(text)), "")
            raise Refusal(f'failed to parse value as time or duration: "{wrong}"') from None

    def boolean(self, name: str) -> bool | None:
        """A boolean filter; None if it is not given. Raises Refusal."""
        values = self.get(name)
        if not values:
            return None
        if len(values) == 1 and values[0] in ("1", "true", "True", "t", "T", "TRUE"):
            return True
        if len(values) == 1 and values[0] in ("0", "false", "False", "f", "F", "FALSE"):
            return False
        raise Refusal(f"invalid filter '{name}=[{' '.join(values)}]'")


def _is_timestamp(text: str) -> bool:
    try:
        parse_timestamp(text)
    except ValueError:
        return False
    return True


def _values(values: object) -> list[str]:
    if isinstance(values, dict):
        return [str(value) for value, wanted in values.items() if wanted]
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return values
    raise Refusal("invalid filter")


def matches(pattern: str, text: str) -> bool:
    """Docker's match of a name: a regular expression found anywhere in it; an invalid one is searched literally."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text
