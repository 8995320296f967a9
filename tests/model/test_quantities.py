import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.model.quantities import parse_bytes, parse_duration, parse_mode


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("64", 64), ("64b", 64), ("1k", 1024), ("1kb", 1024), ("1KiB", 1024), ("1.5m", 1572864), ("1g", 1 << 30),
        ("2 GB", 2 << 30), ("1t", 1 << 40), ("-1", -1), (7, 7), ("0.5g", 1 << 29),
    ],
)  # fmt: skip
def test_bytes(text, number):
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "m", "1x", "1 2", "1,5m", "lots", None, True, []])
def test_invalid_sizes(text):
    with pytest.raises(ValueError, match="is not a valid size"):
        parse_bytes(text)


@given(st.integers(0, 1 << 62))
def test_bytes_as_go_prints_them(number):
    assert parse_bytes(str(number)) == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10), ("1m30s", 90), ("1h0m0s", 3600), ("500ms", 0.5), ("1.5s", 1.5), ("2us", 2e-6), ("2µs", 2e-6),
        ("0", 0), ("1d", 86400), ("1w", 604800), ("-1s", -1), ("1h1m1.001s", 3661.001), (".5s", 0.5),
    ],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "1 s", "1x", "1s2", None, True, []])
def test_invalid_durations(text):
    with pytest.raises(ValueError, match="is not a valid duration"):
        parse_duration(text)


@given(st.integers(0, 200), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_durations_as_go_prints_them(hours, minutes, seconds, milliseconds):
    text = f"{hours}h{minutes}m{seconds}.{milliseconds:03}s"
    assert parse_duration(text) == pytest.approx(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)


@pytest.mark.parametrize(("text", "mode"), [("0440", 0o440), ("440", 0o440), ("0o440", 0o440), (288, 288), (0, 0)])
def test_modes(text, mode):
    assert parse_mode(text) == mode


@pytest.mark.parametrize("text", ["", "9", "rw", "010000", 4096, -1, None, True])
def test_invalid_modes(text):
    with pytest.raises(ValueError, match="is not a valid file mode"):
        parse_mode(text)
