from __future__ import annotations

import pytest

from composer.cli.errors import UsageError
from composer.cli.moment import parse_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("42m", 1000_000 - 42 * 60),
        ("1h30m", 1000_000 - 5400),
        ("1.5s", 1000_000 - 1.5),
        ("0s", 1000_000),
        ("2013-01-02T13:23:37Z", 1357133017),
        ("2013-01-02T13:23:37.123456789+01:00", 1357129417.123456),
        ("1357133017.5", 1357133017.5),
    ],
)
def test_moments(text: str, moment: float) -> None:
    assert parse_moment(text, now=1000_000) == pytest.approx(moment, abs=1e-6)


@pytest.mark.parametrize("text", ["", "x", "5 minutes", "12q", "-", "2013-13-01"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid time"):
        parse_moment(text)
