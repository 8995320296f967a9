"""When probes run, and how they change a container's health."""

import asyncio
import contextlib

import pytest

from composer.run.health import Check, check_of, judged, watch
from engine.errors import EngineError
from engine.spec.container import Healthcheck
from engine.spec.state import Health, Probe
from tests.run.fake import now, run

STARTING = Health(status="starting")


def probe(code, at=0.0):
    return Probe(start=at, end=at, exit_code=code)


def test_service_overrides_the_images_healthcheck():
    image = Healthcheck(test=("CMD", "image"), interval=7.0, retries=9)
    assert check_of(None, image) == Check(test=("CMD", "image"), interval=7.0, retries=9)
    own = Healthcheck(interval=1.0)
    assert check_of(own, image) == Check(test=("CMD", "image"), interval=1.0, retries=9)
    assert check_of(Healthcheck(test=("CMD-SHELL", "own")), image).test == ("CMD-SHELL", "own")


@pytest.mark.parametrize("own", [None, Healthcheck(), Healthcheck(test=("NONE",))])
def test_container_without_check_has_no_health(own):
    assert check_of(own, None) is None


def test_a_disabled_check_of_the_image():
    assert check_of(Healthcheck(test=("NONE",)), Healthcheck(test=("CMD", "image"))) is None


def test_zero_means_the_default():
    check = check_of(Healthcheck(test=("CMD", "x"), interval=0, retries=0, timeout=0, start_period=0), None)
    assert check == Check(test=("CMD", "x"))


def test_invalid_healthcheck_of_an_image_means_the_default():
    wrong = Healthcheck(
        test=("CMD", "x"), interval=-5e-9, timeout=1e-6, retries=-1, start_period=-1.0, start_interval=-2.0
    )
    assert check_of(None, wrong) == Check(test=("CMD", "x"))


def test_retries_in_a_row():
    check = Check(test=("CMD", "x"), retries=2)
    health = judged(Health(status="healthy"), probe(1), check, in_start_period=False)
    assert (health.status, health.failing_streak) == ("healthy", 1)
    health = judged(health, probe(0), check, in_start_period=False)
    assert (health.status, health.failing_streak) == ("healthy", 0)
    for _ in range(2):
        health = judged(health, probe(1), check, in_start_period=False)
    assert (health.status, health.failing_streak) == ("unhealthy", 2)
    assert judged(health, probe(0), check, in_start_period=False).status == "healthy"


def test_failures_in_the_start_period_do_not_count_until_a_success():
    check = Check(test=("CMD", "x"), retries=1, start_period=60)
    health = judged(STARTING, probe(1), check, in_start_period=True)
    assert (health.status, health.failing_streak) == ("starting", 0)
    health = judged(judged(health, probe(0), check, in_start_period=True), probe(1), check, in_start_period=True)
    assert health.status == "unhealthy"


def test_the_log_keeps_five():
    check = Check(test=("CMD", "x"))
    health = STARTING
    for number in range(7):
        health = judged(health, probe(number), check, in_start_period=False)
    assert [one.exit_code for one in health.log] == [2, 3, 4, 5, 6]


def observe(check, answers, seconds, clock=None):
    """The times of the probes and the statuses that were reported."""
    times, statuses = [], []

    async def main():
        started = now()
        left = list(answers)

        async def ask():
            times.append(round(now() - started, 3))
            code = left.pop(0) if len(left) > 1 else left[0]
            if code is None:
                raise EngineError("gone")
            return probe(code, now())

        async def report(health):
            statuses.append(health.status)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await watch(check, started, STARTING, probe=ask, report=report, clock=clock or now)

    run(main)
    return times, statuses


def test_first_successful_probe_is_healthy():
    times, statuses = observe(Check(test=("CMD", "x"), interval=30), [0], 61)
    assert times == [0.0, 30.0, 60.0]
    assert statuses[0] == "healthy"


def test_early_probes_that_fail_do_not_count():
    times, statuses = observe(Check(test=("CMD", "x"), interval=10, retries=1), [1, 1, 0], 11)
    assert times == [0.0, 0.1, 10.1]
    assert statuses == ["healthy"]


def test_the_start_interval_during_the_start_period():
    check = Check(test=("CMD", "x"), interval=10, start_period=3, start_interval=1, retries=1)
    times, statuses = observe(check, [1], 25)
    assert times == [0.0, 0.1, 1.1, 2.1, 3.1, 13.1, 23.1]
    assert statuses == ["starting", "starting", "unhealthy", "unhealthy", "unhealthy"]


def test_a_clock_that_is_set_changes_nothing():
    check = Check(test=("CMD", "x"), interval=10, start_period=3, start_interval=1, retries=1)
    for jump in (-86400.0, 86400.0):
        moments = iter((0.0,))
        times, statuses = observe(check, [1], 25, clock=lambda moments=moments, jump=jump: next(moments, jump))
        assert times == [0.0, 0.1, 1.1, 2.1, 3.1, 13.1, 23.1]
        assert statuses[-1] == "unhealthy"


def test_a_probe_that_cannot_be_run_is_no_failure():
    _, statuses = observe(Check(test=("CMD", "x"), interval=1, retries=1), [None, None, None, 0], 3)
    assert statuses == ["healthy"]
