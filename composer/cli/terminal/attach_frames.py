"""Docker's multiplexing of stdout and stderr on one stream (Engine API, "Attach to a container")."""

from __future__ import annotations


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """(number of the stream, content) of each complete frame, and the rest of `data`. A frame is a header of 8 bytes, the first
    of which is the number and the last four the size, and the content."""
    found, start = [], 0
    while len(data) - start >= 8 and len(data) - start >= (
        size := 8 + int.from_bytes(data[start + 4 : start + 8], "big")
    ):
        found.append((data[start], data[start + 8 : start + size]))
        start += size
    return found, data[start:]
