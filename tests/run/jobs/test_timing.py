"""When jobs fire: summer time, fires that were missed, clocks that were set."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composer.plan.desired import Schedule
from composer.run.jobs.timing import CORRECTION, armed, due, fires, next_fires

HOUR, DAY = 3600.0, 86400.0


def at(text, zone=datetime.UTC):
    """Seconds since the epoch of an ISO time."""
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def shown(moments):
    return [f"{datetime.datetime.fromtimestamp(one, datetime.UTC):%m-%d %H:%M}" for one in moments]


@pytest.mark.parametrize(
    ("cron", "zone", "start", "expected"),
    [
        ("30 2 * * *", "", "2026-03-28", ["03-28 02:30", "03-29 02:30", "03-30 02:30"]),
        # Europe/Paris: 02:00 to 03:00 of 29 March does not exist, of 25 October comes twice
        ("30 2 * * *", "Europe/Paris", "2026-03-28", ["03-28 01:30", "03-30 00:30", "03-31 00:30"]),
        ("30 2 * * *", "Europe/Paris", "2026-10-24", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("0,30 2-3 * * *", "Europe/Paris", "2026-10-24T23:00", ["10-25 00:00", "10-25 00:30", "10-25 02:00", "10-25 02:30"]),
        ("*/30 * * * *", "Europe/Paris", "2026-03-29T00:45", ["03-29 01:00", "03-29 01:30", "03-29 02:00"]),
        ("30 1 * * *", "America/New_York", "2026-11-01", ["11-01 05:30", "11-02 06:30"]),
        ("0 0 29 2 *", "", "2026-01-01", ["02-29 00:00"]),
        ("0 0 30 2 *", "", "2026-01-01", []),
        ("@daily", "", "2026-01-01T12:00", ["01-02 00:00"]),
        ("0 9 * jan,MAR mon-wed", "", "2026-01-30", ["03-02 09:00"]),
        ("0 0 13 * 5", "", "2026-02-01", ["02-06 00:00", "02-13 00:00", "02-20 00:00"]),
    ],
)  # fmt: skip
def test_fires(cron, zone, start, expected):
    assert shown(fires(Schedule(cron=cron, timezone=zone), at(start), max(1, len(expected)))) == expected


def look(schedule, decided, now, **options):
    return due((schedule,), decided, at(now) if isinstance(now, str) else now, **options)


HOURLY = Schedule(cron="0 * * * *")


def test_each_fire_is_due_once():
    decided = armed((HOURLY,), at("2026-01-01T10:30"))
    before = look(HOURLY, decided, "2026-01-01T10:59:59")
    assert not before.planned and before.following == at("2026-01-01T11:00")
    now = look(HOURLY, before.decided, "2026-01-01T11:00")
    assert now.planned == at("2026-01-01T11:00") and now.following == at("2026-01-01T12:00")
    assert not look(HOURLY, now.decided, "2026-01-01T11:00").planned


def test_missed_fires_are_combined():
    decided = armed((HOURLY,), at("2026-01-01T10:30"))
    found = look(HOURLY, decided, "2026-03-01T10:30", begun=True)
    assert found.planned == at("2026-03-01T10:00") and found.following == at("2026-03-01T11:00")
    assert not look(HOURLY, found.decided, "2026-03-01T10:31").planned


def test_skip_drops_fires_missed_while_down():
    schedule = Schedule(cron="0 * * * *", missed_fires="skip")
    decided = armed((schedule,), at("2026-01-01T10:30"))
    found = look(schedule, decided, "2026-01-01T13:05", begun=True)
    assert not found.planned and found.following == at("2026-01-01T14:00")
    assert not look(schedule, found.decided, "2026-01-01T13:06").planned
    # A suspended machine does not count as a stopped scheduler, and a late scheduler has missed nothing.
    assert look(schedule, decided, "2026-01-01T13:05").planned
    assert look(schedule, decided, "2026-01-01T13:00:20", begun=True).planned


def test_a_clock_that_is_set_back_a_little_repeats_nothing():
    found = look(HOURLY, {HOURLY.key: at("2026-01-01T11:00")}, "2026-01-01T11:00")
    back = look(HOURLY, found.decided, "2026-01-01T10:10")
    assert not back.planned and back.following == at("2026-01-01T12:00")


def test_a_clock_that_was_far_ahead_is_forgotten():
    found = look(HOURLY, {HOURLY.key: at("2036-01-01T11:00")}, "2026-01-01T10:10")
    assert not found.planned and found.following == at("2026-01-01T11:00")
    assert look(HOURLY, found.decided, "2026-01-01T11:00").planned


def test_schedules_that_meet_fire_once():
    both = (Schedule(cron="0 * * * *"), Schedule(cron="*/30 * * * *", concurrency="queue"))
    found = due(both, armed(both, at("2026-01-01T10:45")), at("2026-01-01T11:00"))
    assert found.planned == at("2026-01-01T11:00") and found.queue
    assert shown(next_fires(both, at("2026-01-01T10:45"), 3)) == ["01-01 11:00", "01-01 11:30", "01-01 12:00"]


CRONS = st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 */5 * * 1-5", "15 1,2,3 * * *"])
ZONES = st.sampled_from(["", "Europe/Paris", "America/New_York", "Australia/Lord_Howe"])


@settings(max_examples=40)
@given(CRONS, ZONES, st.sampled_from(["2026-03-07", "2026-03-28", "2026-10-24", "2026-10-31", "2026-06-01"]), st.data())
def test_each_fire_is_seen_once_however_often_it_is_checked(cron, zone, start, data):
    """Checks at arbitrary times, in order: all fires up to the last check are decided, in order, none twice."""
    schedule, begin = Schedule(cron=cron, timezone=zone), at(start)
    pauses = data.draw(st.lists(st.floats(0, 4 * HOUR), min_size=1, max_size=6))
    expected = [one for one in fires(schedule, begin, 1500) if one <= begin + sum(pauses)]
    decided, now, seen = armed((schedule,), begin), begin, []
    for pause in pauses:
        before, now = now, now + pause
        found = look(schedule, decided, now, begun=data.draw(st.booleans()))
        between = [one for one in expected if before < one <= now]
        assert found.planned == (between[-1] if between else 0)
        seen += between
        decided = found.decided
    assert seen == [one for one in expected if one <= now]


@settings(max_examples=40)
@given(CRONS, st.lists(st.floats(-CORRECTION + 1, CORRECTION), max_size=10))
def test_clock_changes_repeat_no_fire(cron, jumps):
    """But not one so far back that the clock must have been wrong."""
    schedule, now = Schedule(cron=cron), at("2026-06-01")
    decided, seen, furthest = armed((schedule,), now), [], now
    for jump in jumps:
        now = max(now + jump, furthest - CORRECTION + 1)
        furthest = max(furthest, now)
        found = look(schedule, decided, now)
        seen += [found.planned] if found.planned else []
        decided = found.decided
    assert seen == sorted(set(seen))
