"""Restart policies."""

import time


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_on_failure_gives_up_after_its_retries(composer):
    composer("up", "-d")
    count = lambda: composer("exec", "-T", "steady", "sh", "-c", "wc -l < /count/lines", code=None).out.strip()  # noqa: E731
    until(lambda: count() == "3")
    until(lambda: composer.ps("-a")["failing"][0]["State"] == "exited")
    assert composer.ps("-a")["failing"][0]["ExitCode"] == 2
    assert count() == "3"


def test_always_comes_back_but_not_when_stopped_by_the_user(composer):
    composer("up", "-d", "steady")
    before = composer("exec", "-T", "steady", "cat", "/proc/sys/kernel/random/uuid").out
    assert before
    composer("exec", "-T", "steady", "sh", "-c", "kill -9 $(pidof sleep)", code=None)
    until(lambda: composer("exec", "-T", "steady", "true", code=None).code == 0)
    composer("stop", "-t", "1", "steady")
    assert composer.ps("-a")["steady"][0]["State"] == "exited"
