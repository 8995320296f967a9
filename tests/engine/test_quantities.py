"""Sizes and durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.load.read.casts import CastError, boolean, integer, number, single
from composer.load.tree.text import text_of
from engine.quantities import QuantityError, duration, nanoseconds, size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("1024", 1024), ("1b", 1), ("64k", 65536), ("64kb", 65536), ("64KiB", 65536), ("1.5g", 1610612736),
        ("512 MiB", 536870912), ("2M", 2097152), ("1t", 1 << 40), ("1P", 1 << 50), (".5k", 512),
    ],
)  # fmt: skip
def test_sizes(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "k", "1x", "1kbb", "-1", "1 k b", "1zb", "nan", "inf", "1e400", "0x10", "1_0"])
def test_invalid_sizes(text: str) -> None:
    with pytest.raises(QuantityError):
        size(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0s"), ("10s", "10s"), ("90s", "1m30s"), ("1h30m", "1h30m0s"), ("1.5s", "1.5s"), ("500ms", "500ms"),
        ("1500ms", "1.5s"), ("1d", "24h0m0s"), ("1w", "168h0m0s"), ("1us", "1µs"), ("1µs", "1µs"), ("15ns", "15ns"),
        ("-10s", "-10s"), ("1h1ns", "1h0m0.000000001s"), (".5m", "30s"), ("1.s", "1s"), ("3600s", "1h0m0s"),
        ("2562047h47m16.854775807s", "2562047h47m16.854775807s"),
    ],
)  # fmt: skip
def test_durations(text: str, canonical: str) -> None:
    assert duration(nanoseconds(text)) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid"), ("10", "missing unit"), ("10x", "unknown unit 'x'"), ("s", "invalid"), (".s", "invalid"),
        ("1s 2s", "unknown unit"), ("9999999999h", "out of range"), ("1" * 100 + "s", "out of range"),
    ],
)  # fmt: skip
def test_invalid_durations(text: str, message: str) -> None:
    with pytest.raises(QuantityError, match=message):
        nanoseconds(text)


@given(st.integers(-(2**62), 2**62))
def test_canonical_durations_come_back(value: int) -> None:
    assert nanoseconds(duration(value)) == value


@pytest.mark.parametrize(("text", "value"), [("true", True), ("Yes", True), ("ON", True), ("n", False), ("off", False)])
def test_booleans(text: str, value: bool) -> None:
    assert boolean(text) is value


@pytest.mark.parametrize("text", ["", "2", "tru", " true", "0"])
def test_invalid_booleans(text: str) -> None:
    with pytest.raises(CastError):
        boolean(text)


def test_numbers() -> None:
    assert [integer("12"), integer("-3"), integer("+3"), integer("007")] == [12, -3, 3, 7]
    assert number("1e3") == 1000.0
    for text in ("", "1.0", "0x1", "9" * 30, "٣"):
        with pytest.raises(CastError):
            integer(text)
    for text in ("", "a", "1_0", " 1"):
        with pytest.raises(CastError):
            number(text)


def test_single_precision() -> None:
    assert single(0.1) == 0.1
    assert single(1.23456789012) == 1.2345679
    with pytest.raises(CastError):
        single(1e300)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (None, "<nil>"), (3, "3"), (1.0, "1"), (0.5, "0.5"), (1e6, "1e+06"), (123456.5, "123456.5"),
        (1234567.5, "1.2345675e+06"), (1e-5, "1e-05"), (0.0001, "0.0001"), (float("inf"), "+Inf"), (-0.0, "-0"),
        (12345678901234567890.0, "1.2345678901234567e+19"), (["a", 1], "[a 1]"), ({"b": 1, "a": True}, "map[a:true b:1]"),
    ],
)  # fmt: skip
def test_text_of_values(value: object, text: str) -> None:
    assert text_of(value) == text
