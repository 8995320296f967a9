"""Restart policies."""

import signal
import subprocess
import time

import pytest


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


@pytest.mark.parametrize(("number", "state"), [(signal.SIGTERM, "exited"), (signal.SIGUSR1, "running")])
def test_a_signal_that_an_attached_command_passes_on_counts_as_one_of_kill(composer, number, state):
    """Any signal counts as a stop for a container without a stop signal; for one with a stop signal, only that
    signal."""
    composer("up", "-d", "steady", "signalled")
    service = "steady" if state == "exited" else "signalled"
    until(lambda: "ready" in composer("logs", "--no-log-prefix", service).out)
    client = subprocess.Popen(composer.command("attach", service), cwd=composer.folder, env=composer.environ)
    until(lambda: _handles(client.pid, number))
    client.send_signal(number)
    assert client.wait(timeout=30) == 128 + number
    until(lambda: composer.ps("-a")[service][0]["State"] == state)
    if state == "running":
        assert composer("logs", "--no-log-prefix", service).out.count("ready") == 2


def _handles(pid, number):
    """Whether the process has a handler of the signal: it is attached."""
    with open(f"/proc/{pid}/status") as file:
        caught = next(line.split()[1] for line in file if line.startswith("SigCgt"))
    return int(caught, 16) >> (number - 1) & 1
