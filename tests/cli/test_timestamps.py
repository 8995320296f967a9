from __future__ import annotations

import pytest

from composer.cli.errors import UsageError
from composer.cli.parsing.timestamps import parse_timestamp

NOW = 1357133017_000_000_001


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("42m", NOW - 42 * 60 * 10**9),
        ("1h30m", NOW - 5400 * 10**9),
        ("1.5s", NOW - 1_500_000_000),
        ("-1.s", NOW + 1_000_000_000),
        (".000000001s2ns", NOW - 3),
        ("1.234us", NOW - 1234),
        ("0s", NOW),
        ("0", 0),
        ("2013-01-02T13:23:37Z", 1357133017_000_000_000),
        ("2013-01-02T13:23:37.1Z", 1357133017_100_000_000),
        ("2013-01-02T13:23:37.123456789+01:00", 1357129417_123_456_789),
        ("2013-01-02T13:23:37.1234567891-00:30", 1357134817_123_456_789),
        ("2013-01-02 13:23+00:00", 1357132980_000_000_000),
        ("1357133017.5", 1357133017_500_000_000),
        ("1357133017.000000001", 1357133017_000_000_001),
        ("1357133017.1234567899", 1357133017_123_456_789),
    ],
)
def test_timestamps_are_parsed(text: str, moment: int) -> None:
    assert parse_timestamp(text, now=NOW) == moment


def test_local_times(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert parse_timestamp("2013-01-02T15:23:37.000000001") == NOW
        assert parse_timestamp("2013-01-02") == 1357077600_000_000_000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "x", "5 minutes", "12q", "-", "2013-13-01", ".s", "1.2.3", "-5"])
def test_invalid_timestamps_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid time"):
        parse_timestamp(text)
