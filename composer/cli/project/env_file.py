"""A user's .env file, changed in place: comments, order, mode and owner are kept, and readers see either the old or the new file.

python-dotenv parses the file; values are written so that Compose's grammar reads them back.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from composer.cli.errors import CommandError
from composer.load.read import dotenv
from engine import atomic

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*\Z")
_BOM = b"\xef\xbb\xbf"


def change(path: str, wanted: dict[str, str], unwanted: tuple[str, ...] = ()) -> None:
    """Set the variables of `wanted` and remove those of `unwanted`. CommandError when the file cannot be changed in this way."""
    path = os.path.realpath(path)
    with _locked(os.path.dirname(path)):
        before = _read(path)
        try:
            text = (before or b"").decode("utf-8-sig")
        except UnicodeDecodeError:
            raise CommandError(f"{path} is not UTF-8") from None
        edited = _edited(text, wanted, unwanted).encode()
        _replace(path, edited if before is None or not before.startswith(_BOM) else _BOM + edited)


def _edited(text: str, wanted: dict[str, str], unwanted: tuple[str, ...]) -> str:
    """The text with changed assignments, as found by python-dotenv; everything else is unchanged."""
    from dotenv.parser import parse_stream

    end = "\r\n" if "\r\n" in text else "\n"
    parts: list[str] = []
    left = dict(wanted)
    for binding in parse_stream(io.StringIO(text, newline="")):
        original, name = binding.original.string, binding.key
        if name not in wanted and name not in unwanted:
            parts.append(original)
            continue
        body = original.lstrip()
        parts.append(original[: len(original) - len(body)])  # blank lines above
        if name in left:
            parts.append(_assignment(name, left.pop(name), body, binding.value or "") + end)
    if left and parts and not parts[-1].endswith(("\n", "\r")):
        parts.append(end)
    return "".join([*parts, *(f"{name}={_encoded(value)}{end}" for name, value in left.items())])


def _assignment(name: str, value: str, before: str, old: str) -> str:
    """A line that replaces another assignment; it keeps `export` and the comment after the value."""
    _, mark, comment = before.rpartition(" #") if "#" not in old else ("", "", "")
    encoded = _encoded(value) or ('""' if mark else "")
    comment = f" #{comment.rstrip()}" if mark else ""
    export = "export " if before.split(maxsplit=1)[0] == "export" else ""
    return f"{export}{name}={encoded}{comment}"


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _replace(path: str, data: bytes) -> None:
    """Replace the file atomically by one with this content, and the same mode and owner."""
    try:
        atomic.replace(path, data, durable=True, keep_owner=True)
    except OSError as error:
        raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}") from None


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Allow one change at a time in this directory."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"{folder}: {(error.strerror or str(error)).lower()}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _encoded(value: str) -> str:
    """The value in the simplest form that the .env grammar reads back."""
    if _PLAIN.match(value):
        return value
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    escaped = value
    for character, code in (("\\", "\\\\"), ('"', '\\"'), ("$", "\\$"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        escaped = escaped.replace(character, code)
    return f'"{escaped}"'


def values(path: str) -> dict[str, tuple[str, str]]:
    """Name → value and place of the variables that a file sets, as if nothing else were set."""
    found: dict[str, str] = {}
    try:
        places = dotenv.read(path, found, {})
    except OSError as error:
        raise CommandError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    return {name: (found[name], f"{place.file}:{place.line}") for name, place in places.items()}
