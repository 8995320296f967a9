"""The lines of an image's history, worded as by Docker's builder, so that `docker history` shows the same for both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from engine.spec.container import Healthcheck

COMMENT = "buildkit.dockerfile.v0"
"""The author that history gives for a line."""

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
            '"': '\\"', "\\": "\\\\"}  # fmt: skip


def quoted(text: str) -> str:
    """A string as Go's %q shows it."""
    return '"' + "".join(_ESCAPES.get(char) or (char if char.isprintable() else _code(char)) for char in text) + '"'


def _code(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8 (surrogateescape)
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def command(keyword: str, args: Sequence[str]) -> str:
    """CMD and ENTRYPOINT: every argument in quotes."""
    return f"{keyword} [{' '.join(map(quoted, args))}]"


def listed(keyword: str, items: Iterable[str]) -> str:
    """SHELL, VOLUME and EXPOSE: the items as they are."""
    return f"{keyword} [{' '.join(items)}]"


def pairs(keyword: str, found: Iterable[tuple[str, str]]) -> str:
    """ENV and LABEL."""
    return " ".join([keyword, *(f"{name}={value}" for name, value in found)])


def run(args: Sequence[str], declared: Iterable[tuple[str, str | None]], values: Mapping[str, str]) -> str:
    """RUN: the build arguments in scope, counted, go before the command."""
    known = {name: values.get(name, default or "") for name, default in declared}
    before = [f"|{len(known)}", *(f"{name}={value}" for name, value in known.items())] if known else []
    return f"RUN {' '.join([*before, *args])} # buildkit"


def healthcheck(found: Healthcheck) -> str:
    """HEALTHCHECK: all fields, durations as Go writes them, and the retries as the character with that number."""
    test = " ".join(map(quoted, found.test or ()))
    seconds = (found.interval, found.timeout, found.start_period, found.start_interval)
    times = " ".join(f'"{go_duration(value or 0.0)}"' for value in seconds)
    retries = quoted(chr(found.retries or 0))[1:-1]
    retries = {"'": "\\'", '\\"': '"'}.get(retries, retries)
    return f"HEALTHCHECK &{{[{test}] {times} '{retries}'}}"


def go_duration(seconds: float) -> str:
    """1m30s, 500ms, 0s."""
    nano = round(seconds * 1_000_000_000)
    if nano == 0:
        return "0s"
    if nano < 1_000_000_000:
        for size, unit in ((1_000_000, "ms"), (1_000, "µs"), (1, "ns")):
            if nano >= size:
                return f"{_decimal(nano, size)}{unit}"
    minutes, rest = divmod(nano, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    out = f"{_decimal(rest, 1_000_000_000)}s"
    if hours or minutes:
        out = f"{minutes}m{out}"
    return f"{hours}h{out}" if hours else out


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    digits = len(str(size)) - 1
    return f"{whole}.{part:0{digits}d}".rstrip("0").rstrip(".") if part else str(whole)
