"""Variables in text: $VAR, ${VAR}, ${VAR:-default}, ${VAR-default}, ${VAR:?error}, ${VAR?error}, ${VAR:+other},
${VAR+other}, nested in each other, and $$ for a dollar sign.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR = re.compile(r":?[-+?]")
MAX_DEPTH = 50
MAX_LENGTH = 4 << 20
"""The most characters of a text whose variables are replaced; a few lines can expand to more than fits into memory."""


class TemplateError(ValueError):
    """The template is invalid, or a required variable is not set (then `variable` has its name)."""

    def __init__(self, message: str, variable: str = "") -> None:
        super().__init__(message)
        self.variable = variable


class LimitExceeded(TemplateError):
    """The template is valid, but too large; the message names the limit."""


class Variable:
    """One use of a variable. `default` and `alternate` are None if it has none."""

    __slots__ = ("alternate", "default", "name", "required")

    def __init__(self, name: str, required: bool, default: str | None, alternate: str | None) -> None:
        self.name, self.required, self.default, self.alternate = name, required, default, alternate


class _AllSet(dict[str, str]):
    """An environment in which every variable is set."""

    def get(self, name: str, default: object = None) -> str:
        return "set"


_ALL_SET = _AllSet()


def substitute(
    text: str,
    lookup: Mapping[str, str],
    missing: Callable[[str], None] | None = None,
    seen: Callable[[Variable], None] | None = None,
    depth: int = 0,
) -> str:
    """`text` with its variables replaced. Calls `missing` for each variable without a value and default, and `seen` for
    every use of a variable. Raises TemplateError."""
    if "$" not in text:
        return text
    if depth > MAX_DEPTH:
        raise LimitExceeded(f"variables are nested deeper than {MAX_DEPTH} levels")
    return _Expansion(text, lookup, missing, seen, depth).run()


class _Expansion:
    """The replacement of the variables in one text."""

    __slots__ = ("depth", "end_of_line", "last_brace", "lookup", "missing", "seen", "text")

    def __init__(
        self,
        text: str,
        lookup: Mapping[str, str],
        missing: Callable[[str], None] | None,
        seen: Callable[[Variable], None] | None,
        depth: int,
    ) -> None:
        self.text, self.lookup, self.missing, self.seen, self.depth = text, lookup, missing, seen, depth
        self.end_of_line = self.last_brace = -1

    def run(self) -> str:
        text, parts, done = self.text, [], 0
        position = text.find("$")
        while position >= 0:
            parts.append(text[done:position])
            after = text[position + 1 : position + 2]
            if after == "{":
                value, done = self._braced(position)
                parts.append(value)
            elif after == "$":
                parts.append("$")
                done = position + 2
            else:
                name = _NAME.match(text, position + 1)
                if name is None:  # a dollar sign before any other character is literal
                    parts.append("$")
                    done = position + 1
                else:
                    parts.append(self._value(name[0]))
                    done = name.end()
            position = text.find("$", done)
        parts.append(text[done:])
        if sum(map(len, parts)) > MAX_LENGTH:
            raise LimitExceeded(f"with its variables replaced, the text has more than {MAX_LENGTH} characters")
        return "".join(parts)

    def _braced(self, position: int) -> tuple[str, int]:
        """The value of `${…}` at `position`, and the position after it."""
        text = self.text
        name = _NAME.match(text, position + 2)
        if name is None:
            raise TemplateError(text)
        operator = _OPERATOR.match(text, name.end())
        if operator is None:
            if text[name.end() : name.end() + 1] != "}":
                raise TemplateError(text)
            return self._value(name[0]), name.end() + 1
        if name.end() > self.end_of_line:
            newline = text.find("\n", position)
            self.end_of_line = len(text) if newline < 0 else newline
            self.last_brace = text.rfind("}", position, self.end_of_line)
        if self.last_brace < operator.end():
            raise TemplateError(text)
        close = _closing(text, position + 1, self.last_brace + 1)
        return self._applied(name[0], operator[0], text[operator.end() : close]), close + 1

    def _value(self, name: str) -> str:
        if self.seen is not None:
            self.seen(Variable(name, False, None, None))
        value = self.lookup.get(name)
        if value is None:
            if self.missing is not None:
                self.missing(name)
            return ""
        return value

    def _applied(self, name: str, operator: str, argument: str) -> str:
        kind = operator[-1]
        if self.seen is not None:
            default, alternate = argument if kind == "-" else None, argument if kind == "+" else None
            self.seen(Variable(name, kind == "?", default, alternate))
        value = self.lookup.get(name)
        absent = value is None or (not value and operator[0] == ":")
        if absent is (kind == "+"):  # a branch that is not used needs no values, but is parsed
            substitute(argument, _ALL_SET, None, self.seen, self.depth + 1)
        else:
            argument = substitute(argument, self.lookup, self.missing, self.seen, self.depth + 1)
        if kind == "+":
            return value or "" if absent else argument
        if kind == "-":
            return argument if absent else value or ""
        if absent:
            reason = f": {argument}" if argument else ""
            raise TemplateError(f"required variable {name} is missing a value{reason}", name)
        return value or ""


def _closing(text: str, start: int, end: int) -> int:
    """The position of the brace that closes the one at `start`; if it is not closed, the last brace of the line."""
    level, index = 0, start
    while index < end:
        character = text[index]
        if character == "}":
            level -= 1
            if not level:
                return index
        elif character == "{":
            level += 1
            index += 1
        index += 1
    return end - 1
