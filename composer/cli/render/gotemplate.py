"""The part of Go's text/template that --format commonly uses (pkg.go.dev/text/template).

    {{.State.Status}}  {{json .Config}}  {{index .Labels "a"}}  {{.Name | upper}}  {{len .Mounts}}  {{join .Args " "}}
    {{range .Mounts}} … {{else}} … {{end}}   {{range $key, $value := .Labels}}   {{if …}}   {{with …}}   {{/* comment */}}
    eq ne lt le gt ge and or not print println printf slice split lower upper title truncate pad

Values are decoded JSON and methods (`{{.Label "a"}}`). An unknown field of a map is `<no value>`, as in Go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from composer.cli.errors import UsageError

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|:=|[|(),]|[^\s|(),]+)')
_BLOCKS = ("if", "range", "with")
MISSING = "<no value>"

Node = Callable[["_Scope"], str]


class _Scope:
    """The dot, the variables in scope, and the functions."""

    __slots__ = ("dot", "functions", "variables")

    def __init__(self, dot: Any, variables: dict[str, Any], functions: Mapping[str, Callable[..., Any]]) -> None:
        self.dot, self.variables, self.functions = dot, variables, functions

    def inner(self, dot: Any, **more: Any) -> _Scope:
        return _Scope(dot, {**self.variables, **more}, self.functions)


class Template:
    """A parsed template. Raises UsageError if it is invalid."""

    def __init__(self, text: str) -> None:
        self._parts = _split(text.replace("\\t", "\t").replace("\\n", "\n"))
        self._place = 0
        self._body, end = self._parse()
        if end:
            raise UsageError(f"--format: unexpected {{{{{end}}}}}")

    def render(self, value: Any, *, header: bool = False) -> str:
        """`header`: the value contains column headers, which functions return unchanged."""
        scope = _Scope(value, {"$": value}, HEADER_FUNCTIONS if header else FUNCTIONS)
        return "".join(node(scope) for node in self._body)

    def _parse(self) -> tuple[list[Node], str]:
        """The nodes up to {{end}} or {{else …}}, and that word; "" at the end of the text."""
        nodes: list[Node] = []
        while self._place < len(self._parts):
            is_action, text = self._parts[self._place]
            self._place += 1
            word = text.split(None, 1)[0] if is_action and text else ""
            if not is_action:
                nodes.append(lambda scope, text=text: text)  # type: ignore[misc]
            elif word in ("end", "else"):
                return nodes, text
            elif word in _BLOCKS:
                nodes.append(self._block(word, text[len(word) :].strip()))
            elif text and not text.startswith("/*"):
                nodes.append(_action(text))
        return nodes, ""

    def _block(self, word: str, text: str) -> Node:
        body, end = self._parse()
        other: list[Node] = []
        if end.startswith("else"):
            rest = end.removeprefix("else").strip()
            if rest:
                inner = rest.split(None, 1)
                other = [self._block(inner[0], inner[1] if len(inner) > 1 else "")]
                return _blocks(word, text, body, other)
            other, end = self._parse()
        if end != "end":
            raise UsageError(f"--format: {{{{{word}}}}} has no {{{{end}}}}")
        return _blocks(word, text, body, other)


def _split(text: str) -> list[tuple[bool, str]]:
    """Text and actions alternately; `{{-` and `-}}` trim adjacent white space."""
    parts: list[tuple[bool, str]] = []
    place, trim = 0, False
    for match in _ACTION.finditer(text):
        plain = text[place : match.start()]
        plain = plain.lstrip() if trim else plain
        parts += [(False, plain.rstrip() if match[1] else plain), (True, match[2])]
        place, trim = match.end(), bool(match[3])
    rest = text[place:]
    if "{{" in rest:
        raise UsageError("--format: unclosed action")
    return [*parts, (False, rest.lstrip() if trim else rest)]


def _blocks(word: str, text: str, body: list[Node], other: list[Node]) -> Node:
    names, assigned, expression = text.partition(":=")
    variables = [name.strip() for name in names.split(",")] if assigned else []
    value = _pipeline(expression if assigned else text)

    def run(scope: _Scope) -> str:
        found = value(scope)
        if not _is_true(found):
            return "".join(node(scope) for node in other)
        if word != "range":
            inner = scope.inner(found if word == "with" else scope.dot, **dict.fromkeys(variables[-1:], found))
            return "".join(node(inner) for node in body)
        pairs = sorted(found.items()) if isinstance(found, dict) else enumerate(found)
        lines = []
        for key, one in pairs:
            inner = scope.inner(one, **dict(zip(variables[-2:], (key, one)[-len(variables) or 2 :], strict=False)))
            lines += [node(inner) for node in body]
        return "".join(lines)

    return run


def _action(text: str) -> Node:
    names, assigned, expression = text.partition(":=")
    value = _pipeline(expression if assigned else text)

    def run(scope: _Scope) -> str:
        found = value(scope)
        if assigned:
            scope.variables[names.strip()] = found
            return ""
        return _text(found)

    return run


def _pipeline(text: str) -> Callable[[_Scope], Any]:
    tokens = _TOKEN.findall(text)
    if not tokens or "".join(tokens) != re.sub(r"\s+(?=(?:[^\"`]|\"(?:[^\"\\]|\\.)*\"|`[^`]*`)*$)", "", text):
        raise UsageError(f"--format: cannot read {{{{{text}}}}}")
    value, rest = _piped(tokens)
    if rest:
        raise UsageError(f"--format: unexpected {rest[0]!r} in {{{{{text}}}}}")
    return value


def _piped(tokens: list[str]) -> tuple[Callable[[_Scope], Any], list[str]]:
    """`a | b x`: each result is the last argument of the next function."""
    value: Callable[[_Scope], Any] | None = None
    while True:
        words: list[Callable[[_Scope], Any] | str] = []
        while tokens and tokens[0] not in ("|", ")"):
            token, *tokens = tokens
            if token == "(":
                inner, tokens = _piped(tokens)
                if not tokens or tokens.pop(0) != ")":
                    raise UsageError("--format: unclosed parenthesis")
                if tokens and tokens[0].startswith("."):
                    inner, tokens = _of(inner, tokens[0]), tokens[1:]
                words.append(inner)
            else:
                words.append(token)
        value = _command(words, value)
        if not tokens or tokens[0] != "|":
            return value, tokens
        tokens = tokens[1:]


def _of(value: Callable[[_Scope], Any], path: str) -> Callable[[_Scope], Any]:
    """A field of an expression in parentheses: `(index .Config 0).Subnet`."""
    field = _operand(path)
    return lambda scope: field(scope.inner(value(scope)))


def _command(
    words: Sequence[Callable[[_Scope], Any] | str], piped: Callable[[_Scope], Any] | None
) -> Callable[[_Scope], Any]:
    if not words:
        raise UsageError("--format: missing value for command")
    first, *rest = words
    arguments = [word if callable(word) else _operand(word) for word in rest]
    if isinstance(first, str) and first in FUNCTIONS:
        if piped is not None:
            arguments.append(piped)

        def call(scope: _Scope) -> Any:
            try:
                return scope.functions[first](*(argument(scope) for argument in arguments))
            except (TypeError, ValueError, IndexError, AttributeError) as error:
                raise UsageError(f"--format: {first}: {error}") from None

        return call
    found = first if callable(first) else _operand(first)
    if piped is not None:
        arguments.append(piped)
    if not arguments:
        return found
    if callable(first) or not first.startswith("."):
        raise UsageError(f"--format: function {str(first)!r} not defined")

    def call_method(scope: _Scope) -> Any:
        method = found(scope)
        if not callable(method):
            raise UsageError(f"--format: {first} is not a method, but has arguments")
        return method(*(argument(scope) for argument in arguments))

    return call_method


def _operand(word: str) -> Callable[[_Scope], Any]:
    if word[0] in '"`':
        text = word[1:-1] if word[0] == "`" else word[1:-1].encode().decode("unicode_escape")
        return lambda scope: text
    if re.fullmatch(r"-?\d+", word):
        return lambda scope: int(word)
    if word in ("true", "false", "nil"):
        return lambda scope: {"true": True, "false": False}.get(word)
    head, _, path = word.partition(".")
    names = [name for name in path.split(".") if name]
    if head and not head.startswith("$"):
        raise UsageError(f"--format: function {word!r} not defined")

    def find(scope: _Scope) -> Any:
        if head and head not in scope.variables:
            raise UsageError(f"--format: undefined variable {head!r}")
        value = scope.variables[head] if head else scope.dot
        for name in names:
            if value is None:
                return None
            if not isinstance(value, dict):
                raise UsageError(f"--format: can't evaluate field {name} in {word}")
            value = value.get(name, MISSING if name not in value else None)
        return value

    return find


def _is_true(value: Any) -> bool:
    return bool(value) and value != MISSING


def _text(value: Any) -> str:
    """The value as Go prints it."""
    from composer.load.printable import escaped

    if value is None:
        return MISSING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_text(one)}' for key, one in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_text, value))}]"
    return escaped(str(value))


def _json(value: Any) -> str:
    from composer.cli.render.gojson import compact

    return compact(None if value == MISSING else value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = (value or {}).get(key, "") if isinstance(value, dict) or value is None else value[key]
    return value


_VERB = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d+))?(.)", re.DOTALL)
_INTEGERS, _FLOATS = "bdoxXc", "eEfFgG"


def _printf(text: str, *values: Any) -> str:
    """As Go's fmt (pkg.go.dev/fmt), whose verbs are mostly Python's; a value of the wrong type becomes
    `%!d(string=…)`."""
    left = list(values)

    def put(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        shown = _verb(left.pop(0), verb, flags, precision)
        if width and "0" in flags and "-" not in flags and shown.lstrip("+-").isalnum():
            return shown.zfill(int(width))
        return f"{shown:{'<' if '-' in flags else '>'}{width}}" if width else shown

    shown = _VERB.sub(put, text)
    return shown + "".join(f"%!(EXTRA {_kind(value)}={_text(value)})" for value in left)


def _verb(value: Any, verb: str, flags: str, precision: str | None) -> str:
    sign = "+" if "+" in flags else ""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "vs" and not (verb == "s" and number):
        text = _text(value)
        return text[: int(precision)] if precision and verb == "s" else text
    if verb == "q" and isinstance(value, str):
        return _json(value)
    if verb == "T":
        return _kind(value)
    if verb == "t" and isinstance(value, bool):
        return _text(value)
    if verb in _INTEGERS and number and isinstance(value, int):
        return format(value, f"{sign}{verb}")
    if verb in "xX" and isinstance(value, str):
        return value.encode().hex().upper() if verb == "X" else value.encode().hex()
    if verb in _FLOATS and number:
        return format(float(value), f"{sign}.{precision or 6}{verb}")
    return f"%!{verb}({_kind(value)}={_text(value)})"


def _kind(value: Any) -> str:
    """The Go type of a value."""
    kinds = {bool: "bool", int: "int", float: "float64", str: "string", dict: "map[string]interface {}"}
    return kinds.get(type(value), "[]interface {}" if isinstance(value, list) else "string")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: next((value for value in values if not _is_true(value)), values[-1]),
    "or": lambda *values: next((value for value in values if _is_true(value)), values[-1]),
    "not": lambda value: not _is_true(value),
    "pad": lambda value, left, right: f"{' ' * left}{value}{' ' * right}" if value else "",
    "eq": lambda value, *others: value in others,
    "ne": lambda value, other: value != other,
    "lt": lambda value, other: value < other,
    "le": lambda value, other: value <= other,
    "gt": lambda value, other: value > other,
    "ge": lambda value, other: value >= other,
    "index": _index,
    "join": lambda values, separator: separator.join(map(_text, values or ())),
    "json": _json,
    "len": lambda value: len(value or ()),
    "lower": lambda value: _text(value).lower(),
    "print": lambda *values: "".join(map(_text, values)),
    "printf": _printf,
    "println": lambda *values: " ".join(map(_text, values)) + "\n",
    "slice": lambda value, start=0, end=None: value[start:end],
    "split": lambda value, separator: str(value).split(separator),
    "title": lambda value: _text(value).title(),
    "truncate": lambda value, size: _text(value)[:size],
    "upper": lambda value: _text(value).upper(),
}

HEADER_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    **dict.fromkeys(("json", "lower", "title", "upper"), lambda value: value),
    "truncate": lambda value, size: value,
}
