""".env, env_file and label_file: the grammar that Compose reads.

NAME=value            # unquoted: up to " #" or the end of the line; variables are replaced
NAME='as it is'       # may span lines; \\' is a quote
NAME="with \\n and $VAR"
NAME: value           # a colon works like an equals sign
export NAME=value
NAME                  # takes the value of the environment, if any
"""

from __future__ import annotations

import re

from composer.load.errors import LoadError
from composer.load.read.interpolation.expressions import LimitExceeded, TemplateError, substitute
from composer.load.tree.nodes import Origin

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Missing = Callable[[str], None]

MAX_BYTES = 4 << 20
MAX_TOTAL = 16 << 20
"""The most characters of a file's values with their variables replaced."""
_SPACE = "\t\v\f\r \x85\xa0"
_ALL_SPACE = (
    _SPACE + "\n\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_START = re.compile(f"[{_ALL_SPACE}]*")
_EXPORT = re.compile(r"export[\t\n\f\r ]+")
_KEY = re.compile(rf"(?:[^\W]|[.\-\[\]{_SPACE}])*")
_ESCAPE = re.compile(r"""\\(?:[abcfnrtv$"\\]|0[0-9]{0,3})""")
_ESCAPED = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "$": "$$",
    '"': '"',
    "\\": "\\",
}


class Layered(dict[str, str]):
    """Looks up names in one mapping, then in another, without copying either."""

    def __init__(self, first: Mapping[str, str], then: Mapping[str, str]) -> None:
        super().__init__()
        self._first, self._then = first, then

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        value = self._first.get(name)
        return self._then.get(name, default) if value is None else value


def read(
    path: str, into: dict[str, str], lookup: Mapping[str, str], missing: Missing | None = None
) -> dict[str, Origin]:
    """Set the variables of a file in `into`, and return where each was set. Raises OSError when it cannot be read.

    Variables in values come from `lookup`, else from the file so far, else from `into`.
    """
    data = _content(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LoadError(f"byte 0x{data[error.start]:02x} is not UTF-8", Origin(path, line, 1)) from error
    return parse(text, path, into, lookup, missing)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise LoadError(f"{path} has more than {MAX_BYTES} bytes, the limit for an env file")
    return data


def parse(
    text: str, path: str, into: dict[str, str], lookup: Mapping[str, str], missing: Missing | None = None
) -> dict[str, Origin]:
    """The same for a text; errors call it `path`."""
    return _Parser(text, path, into, lookup, missing).run()


class _Parser:
    def __init__(
        self, text: str, path: str, into: dict[str, str], lookup: Mapping[str, str], missing: Missing | None
    ) -> None:
        self.text, self.path, self.into, self.lookup, self.missing = text, path, into, lookup, missing
        self.known = Layered(lookup, into)
        self.counted = self.line = self.replaced = 0

    def run(self) -> dict[str, Origin]:
        text = self.text
        places: dict[str, Origin] = {}
        position = 0
        while True:
            match = _START.match(text, position)
            position = match.end() if match else position
            if position >= len(text):
                return places
            if text[position] == "#":
                end = text.find("\n", position)
                position = len(text) if end < 0 else end
                continue
            place = self._place(position)
            key, position, inherited = self._key(position)
            if inherited:
                value = self.lookup.get(key)
            else:
                value, position = self._value(position)
            if value is not None:
                self.into[key] = value
                places[key] = place

    def _place(self, position: int) -> Origin:
        self.line += self.text.count("\n", self.counted, position)
        self.counted = position
        return Origin(self.path, self.line + 1, position - self.text.rfind("\n", 0, position))

    def _key(self, position: int) -> tuple[str, int, bool]:
        """The name that starts here, the position of its value, and whether the value comes from the environment."""
        text = self.text
        if export := _EXPORT.match(text, position):
            position = export.end()
        start = position
        match = _KEY.match(text, position)
        end = match.end() if match else position
        stop = text[end : end + 1]
        if stop not in ("=", ":", "\n", ""):
            line = text[start : text.find("\n", start) if "\n" in text[start:] else len(text)]
            shown = line if len(line) < 80 else line[:80] + "…"
            raise LoadError(f"unexpected character {_quoted(stop)} in variable name {_quoted(shown)}", self._place(end))
        key = text[start:end].rstrip(_ALL_SPACE)
        if " " in key:
            raise LoadError(f"key cannot contain a space: {_quoted(key)}", self._place(start))
        end += 1
        if stop in ("=", ":") and stop:
            while text[end : end + 1] and text[end] in _SPACE:
                end += 1
            return key, end, False
        return key, end, True

    def _value(self, position: int) -> tuple[str, int]:
        text = self.text
        quote = text[position : position + 1]
        if quote not in ("'", '"') or not quote:
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            value = text[position:end].partition(" #")[0].rstrip(_ALL_SPACE)
            return self._expanded(value, position), end + 1
        parts: list[str] = []
        index = start = position + 1
        while True:
            close, slash = text.find(quote, index), text.find("\\", index)
            if close < 0:
                line = text[position:].partition("\n")[0]
                shown = line if len(line) < 80 else line[:80] + "…"
                raise LoadError(f"unterminated quoted value {shown}", self._place(position))
            if 0 <= slash < close:
                if text[slash + 1 : slash + 2] == quote:
                    parts.append(text[start:slash] + quote)
                    start = slash + 2
                index = slash + 2
                continue
            parts.append(text[start:close])
            value = "".join(parts)
            return (self._expanded(_unescaped(value), position) if quote == '"' else value), close + 1

    def _expanded(self, value: str, position: int) -> str:
        if "$" not in value:
            return value
        try:
            found = substitute(value, self.known, self.missing)
        except LimitExceeded as error:
            raise LoadError(str(error), self._place(position)) from error
        except TemplateError as error:
            shown = value if len(value) < 200 else value[:200] + "…"
            message = str(error) if error.variable else f"invalid interpolation format: {shown}"
            hint = "" if error.variable else "write $$ for a dollar sign, or put the value in single quotes"
            raise LoadError(message, self._place(position), hint) from error
        self.replaced += len(found)
        if self.replaced > MAX_TOTAL:
            raise LoadError(
                f"with variables replaced, the file has more than {MAX_TOTAL} characters", self._place(position)
            )
        return found


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(_character, value) if "\\" in value else value


def _character(match: re.Match[str]) -> str:
    escape = match[0][1:]
    if escape in _ESCAPED:
        return _ESCAPED[escape]
    if escape[0] == "0":  # \0 and three octal digits
        digits = escape[1:]
        if len(digits) == 3 and not digits.strip("01234567") and int(digits, 8) < 256:
            return chr(int(digits, 8))
        return "\\" + digits
    return match[0]


def read_raw(path: str, into: dict[str, str], lookup: Mapping[str, str]) -> dict[str, Origin]:
    """Read a file of `format: raw`: NAME=value, taken literally, as `docker run --env-file` does."""
    text = _content(path).decode("utf-8-sig", "surrogateescape")
    places: dict[str, Origin] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        place = Origin(path, number, 1)
        if not name:
            raise LoadError(f"no variable name on line {_quoted(line)}", place)
        if any(character.isspace() for character in name):
            raise LoadError(f"variable {name!r} contains whitespace", place)
        found = value if equals else lookup.get(name)
        if found is not None:
            into[name] = found
            places[name] = place
    return places
