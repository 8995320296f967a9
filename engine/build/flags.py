"""The `--name=value` flags of an instruction, and durations."""

from __future__ import annotations

from collections.abc import Sequence

from engine.quantities import GO, nanoseconds


class Flags:
    """The flags of one instruction: each parser takes the ones it knows, and `finish` refuses the rest."""

    def __init__(self, words: Sequence[str]) -> None:
        self._values: dict[str, list[str | None]] = {}
        self._known: list[str] = []
        for word in words:
            name, equals, value = word[2:].partition("=")
            self._values.setdefault(name, []).append(value if equals else None)

    def every(self, name: str) -> list[str]:
        """All values of a flag that may be repeated."""
        return [self._required(name, value) for value in self._take(name)]

    def text(self, name: str, default: str = "") -> str:
        values = self._once(name)
        return self._required(name, values[0]) if values else default

    def optional(self, name: str) -> bool | None:
        """Whether the flag is set; None when it is not given."""
        values = self._once(name)
        if not values:
            return None
        value = values[0]
        if value == "":
            raise ValueError(f"missing a value on flag: --{name}")
        if value is None or value.lower() == "true":
            return True
        if value.lower() == "false":
            return False
        raise ValueError(f"--{name} expects true or false, not {value!r}")

    def boolean(self, name: str) -> bool:
        return bool(self.optional(name))

    def finish(self, keyword: str) -> None:
        """Raises ValueError for a flag that no parser used."""
        for name in self._values:
            from difflib import get_close_matches  # late: only for a mistake

            near = get_close_matches(name, self._known, 1)
            hint = f"; did you mean --{near[0]}?" if near else ""
            raise ValueError(f"unknown flag: --{name} (instruction {keyword}){hint}")

    def _take(self, name: str) -> list[str | None]:
        self._known.append(name)
        return self._values.pop(name, [])

    def _once(self, name: str) -> list[str | None]:
        values = self._take(name)
        if len(values) > 1:
            raise ValueError(f"the flag --{name} is given more than once")
        return values

    @staticmethod
    def _required(name: str, value: str | None) -> str:
        if value is None:
            raise ValueError(f"missing a value on flag: --{name}")
        return value


def duration(text: str) -> float:
    """Go's duration format (1m30s, 500ms, -2s) in seconds; "0" is 0. Raises ValueError."""
    return nanoseconds(text, GO) / 1e9
