"""Entries are selected by nanoseconds, in either format."""

import json

import pytest

from engine.container.log_reader import LogReader
from engine.log.jsonfile import JsonFile
from engine.log.local import Local
from engine.rfc3339 import nine_digits

BEGAN = 1357133017_999_999_998
"""The lines are too close for a float of seconds to distinguish them, and a second ends among them."""


@pytest.fixture(params=["json-file", "local"])
def folder(tmp_path, request):
    """A container's log of five lines, each one nanosecond after the other."""
    how = JsonFile({}) if request.param == "json-file" else Local()
    lines = [how.encode("stdout", f"{number}\n".encode(), BEGAN + number) for number in range(5)]
    (tmp_path / how.name).write_bytes(b"".join(lines))
    (tmp_path / "spec.json").write_text(json.dumps({"logging": {"driver": request.param}}))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [(0, 0, "01234"), (2, 0, "234"), (0, 2, "012"), (1, 3, "123"), (3, 3, "3"), (5, 0, ""), (0, -1, "")],
)
def test_since_and_until(folder, since, until, expected):
    reader = LogReader(folder, since=since and BEGAN + since, until=until and BEGAN + until)
    entries = reader.read()
    reader.close()
    assert "".join(entry.text.strip() for entry in entries) == expected


def test_times_are_shown_as_they_are_taken(folder):
    from composer.cli.parsing.timestamps import parse_timestamp

    reader = LogReader(folder)
    times = [entry.time for entry in reader.read()]
    reader.close()
    assert [parse_timestamp(nine_digits(time)) for time in times] == times == [BEGAN + number for number in range(5)]
