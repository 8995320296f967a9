"""Pieces and batches, without containers."""

import json
import random

import pytest

from engine.log import lines
from engine.log.jsonfile import JsonFile
from engine.log.local import Decoder, Local

TEXTS = [
    b"a\nb\n",
    b"\n\n\n",
    b"x" * 16384 + b"\n",
    b"x" * 16385 + b"\n",
    b"x" * 50000 + b"\nshort\n",
    "é".encode() * 20000 + b"\n",
    b"\r\nwindows\r\n\rbar\r",
    bytes(range(256)).replace(b"\n", b"") + b"\n",
    b"no newline",
    b"".join(b"%d " % n * (n % 50) + b"\n" for n in range(3000)),
]


@pytest.mark.parametrize("text", TEXTS)
def test_lines_are_preserved(text):
    assert b"".join(lines.pieces(text)) == text
    assert all(len(piece) <= lines.MAX_LINE + 1 for piece in lines.pieces(text))
    records = [json.loads(line) for line in JsonFile({}).encode("stdout", text, 5).splitlines()]
    assert "".join(record["log"] for record in records) == text.decode(errors="replace")
    frame = Local().encode("stderr", text, 7)
    decoder = Decoder()
    found = [record for at in range(0, len(frame), 1000) for record in decoder.feed(frame[at : at + 1000])]
    assert b"".join(record.text for record in found) == text
    assert {(record.timestamp, record.stream) for record in found} == {(7, "stderr")}


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_do_not_depend_on_how_it_comes(text):
    """Fed byte by byte or at once: the same records."""
    chance = random.Random(len(text))
    rest, found = b"", []
    for at in range(0, len(text), step := chance.randrange(1, 40000)):
        rest += text[at : at + step]
        size = lines.whole(rest)
        found += lines.pieces(rest[:size])
        rest = rest[size:]
    found += lines.pieces(rest)
    assert found == list(lines.pieces(text))


def test_characters_are_not_cut():
    for piece in lines.pieces(("a" + "é€𝄞" * 9000).encode()):
        piece.decode()
