"""gzip by ISA-L and by zlib: each reads what the other writes."""

import gzip as standard
import os
import zlib

import pytest

from engine.image.layer import gzip

DATA = os.urandom(3000) + b"the same again " * 20_000


@pytest.fixture(params=["ISA-L", "zlib"])
def kind(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setattr(gzip, "isal_zlib", None)
    elif gzip.isal_zlib is None:
        pytest.skip("no wheel for this machine")


def test_output_is_valid_gzip(kind):
    member = gzip.deflate()
    packed = b"".join(member.compress(DATA[at : at + 7000]) for at in range(0, len(DATA), 7000)) + member.flush()
    assert standard.decompress(packed) == DATA
    assert len(packed) < 10_000


def test_a_member_is_read_in_bounded_pieces_up_to_its_end(kind):
    member, given, pieces = gzip.inflate(), standard.compress(DATA) + b"rest", []
    while not member.eof:
        pieces.append(member.decompress(given, 4096))
        given = member.unconsumed_tail
    assert max(map(len, pieces)) <= 4096
    assert b"".join(pieces) == DATA
    assert member.unused_data == b"rest"


def test_damage_is_an_error(kind):
    packed = bytearray(standard.compress(DATA))
    packed[-6] ^= 1  # in the checksum
    with pytest.raises(gzip.Errors):
        gzip.inflate().decompress(bytes(packed), 1 << 20)
    with pytest.raises(gzip.Errors):
        gzip.inflate().decompress(standard.compress(b"")[:10] + b"\x07" + bytes(40), 1 << 20)  # no block has type 3


def test_errors_are_those_of_both():
    assert zlib.error in gzip.Errors
