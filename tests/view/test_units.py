from __future__ import annotations

import pytest

from composer.cli.render.table import shorten, table
from composer.view.units import bytes_size, human_duration, human_size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "Less than a second"),
        (0.9, "Less than a second"),
        (1.5, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47.4 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (61 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (731 * 86400, "2 years"),
    ],
)
def test_durations_in_dockers_words(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_sizes() -> None:
    assert human_size(1_985_472) == "1.99MB"
    assert human_size(0) == "0B" and human_size(999) == "999B" and human_size(3_230) == "3.23kB"
    assert bytes_size(816 * 1024) == "816KiB"
    assert bytes_size(23.54 * 1024**3) == "23.54GiB"


def test_tables() -> None:
    assert table([("A", "BB"), ("xyz", "")], padding=3) == "A     BB\nxyz   \n"
    assert table([("A", "B")], minimum=6) == "A     B\n"
    assert shorten("12345", 5) == "12345" and shorten("123456", 5) == "1234…"
