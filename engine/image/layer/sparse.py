"""Maps of sparse files in tar archives (GNU tar manual, appendix D, "Storing Sparse Files")."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import Corrupt

Map = list[tuple[int, int]]
_SEGMENTS = 1 << 20


def gnu_old_map(header: bytes, block: Callable[[], bytes], number: Callable[[bytes], int]) -> tuple[Map, int]:
    """The map and real size of an old GNU entry (type S): four segments in the header, 21 in each block after it."""
    segments: Map = []

    def take(data: bytes, start: int, count: int) -> None:
        for at in range(start, start + count * 24, 24):
            if data[at]:
                segments.append((number(data[at : at + 12]), number(data[at + 12 : at + 24])))

    take(header, 386, 4)
    extended = header[482]
    while extended:
        data = block()
        take(data, 0, 21)
        extended = data[504]
        if len(segments) > _SEGMENTS:
            raise Corrupt("a sparse file has too many segments")
    return segments, number(header[483:495])


def pax_map(pax: dict[str, bytes], block: Callable[[], bytes], subject: str) -> tuple[Map, int, str]:
    """The map, real size and real name from pax records: versions 0.0, 0.1 and 1.0 (the map leads the content)."""
    try:
        name = pax.get("GNU.sparse.name", b"").decode("utf-8", "surrogateescape")
        size = int(pax.get("GNU.sparse.realsize") or pax.get("GNU.sparse.size") or 0)
        if pax.get("GNU.sparse.major") == b"1":
            numbers = _leading(block)
        elif "GNU.sparse.map" in pax:
            numbers = [int(item) for item in pax["GNU.sparse.map"].split(b",") if item]
        else:
            offsets = [int(item) for item in pax.get("GNU.sparse.offset", b"").split(b",") if item]
            lengths = [int(item) for item in pax.get("GNU.sparse.numbytes", b"").split(b",") if item]
            numbers = [item for pair in zip(offsets, lengths, strict=True) for item in pair]
        if len(numbers) % 2 or any(item < 0 for item in numbers):
            raise ValueError("odd or negative numbers in the map")
    except ValueError as error:
        raise Corrupt(f"{subject}: unreadable sparse map: {error}") from error
    return list(zip(numbers[::2], numbers[1::2], strict=True)), size, name


def _leading(block: Callable[[], bytes]) -> list[int]:
    """Decimal numbers, one a line, padded to a block: how many segments, then offset and length of each."""
    data = block()
    numbers: list[int] = []
    wanted = 1
    while True:
        line, newline, rest = data.partition(b"\n")
        if not newline:
            data += block()
            continue
        data = rest
        numbers.append(int(line))
        if len(numbers) == 1:
            if not 0 <= numbers[0] <= _SEGMENTS:
                raise ValueError("too many segments")
            wanted = 1 + 2 * numbers[0]
        if len(numbers) == wanted:
            return numbers[1:]
