"""Cron expressions: their meaning, and the errors for invalid ones."""

from __future__ import annotations

import pytest

from composer.cron import Cron, CronError


def test_fields() -> None:
    cron = Cron("*/15 0,12 1-3 * 5-7")
    assert (cron.minutes, cron.hours) == ({0, 15, 30, 45}, {0, 12}) and cron.months == set(range(1, 13))
    assert (cron.days, cron.weekdays) == ({1, 2, 3}, {5, 6, 0})


@pytest.mark.parametrize(
    ("text", "month", "day", "weekday", "fires"),
    [
        ("0 0 13 * 5", 1, 13, 2, True), ("0 0 13 * 5", 1, 14, 5, True), ("0 0 13 * 5", 1, 14, 4, False),
        ("0 0 */2 * 1", 1, 3, 1, True), ("0 0 */2 * 1", 1, 3, 2, False), ("0 0 */2 * 1", 1, 4, 1, False),
        ("0 0 * 2 *", 3, 1, 1, False), ("0 0 * * 0", 1, 1, 0, True), ("0 0 * * 7", 1, 1, 0, True),
    ],
)  # fmt: skip
def test_days(text: str, month: int, day: int, weekday: int, fires: bool) -> None:
    assert Cron(text).on(month, day, weekday) is fires


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@dayly", "unknown shortcut"),
        ("0 3 * * mo", 'day-of-week field: invalid term "mo": "mo" is not a number'),
        ("60 * * * *", "value 60 is outside 0-59"),
        ("* * 0 * *", "value 0 is outside 1-31"),
        ("9-5 * * * *", "range is reversed"),
        ("5/2 * * * *", "a step requires"),
        ("*/0 * * * *", "value 0 is outside"),
        ("+5 * * * *", "is not a number"),
        ("1,,2 * * * *", 'invalid term ""'),
    ],
)
def test_wrong(text: str, message: str) -> None:
    with pytest.raises(CronError) as error:
        Cron(text)
    assert message in str(error.value)
