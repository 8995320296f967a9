"""SIGSTOP for the keeper: commands report what they wait for, and those that stop something are not blocked."""

import contextlib
import json
import os
import signal

import pytest

from tests.fault.victims import find


@pytest.fixture
def stopped(composer):
    """The pid of a running project's keeper, which is stopped."""
    web = {"image": "busybox", "command": ["sleep", "1000"], "stop_grace_period": "0s", "network_mode": "none"}
    composer.write(compose=json.dumps({"services": {"web": web}}))
    composer("up", "-d")
    (pid,) = find(composer, "keeper")
    os.kill(pid, signal.SIGSTOP)
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("words", [("exec", "-T", "web", "true"), ("up", "-d", "--force-recreate")])
def test_a_command_says_what_it_waits_for(composer, stopped, words):
    _says_what_it_waits_for(composer.start(*words), stopped)


@pytest.mark.parametrize("words", [("up", "-d"), ("up", "-d", "--force-recreate")])
def test_a_command_that_waits_for_a_new_supervisor_says_why(composer, stopped, words):
    """The supervisor has been killed, too. The next one cannot adopt containers while the keeper is stopped."""
    for pid in find(composer, "supervisor"):
        os.kill(pid, signal.SIGKILL)
    _says_what_it_waits_for(composer.start(*words), stopped)


def _says_what_it_waits_for(waiting, stopped):
    line = f"The keeper of this project is stopped. To resume it: kill -CONT {stopped}\n"
    said = []
    for said_line in waiting.stdout:
        said.append(said_line)
        if said_line == line:
            os.kill(stopped, signal.SIGCONT)
    assert waiting.wait(60) == 0
    assert said.count(line) == 1


@pytest.mark.parametrize("words", [("stop",), ("kill",), ("rm", "-f", "-s"), ("down",)])
def test_stop_and_kill_are_not_delayed(composer, stopped, words):
    assert f"The keeper of this project (pid {stopped}) was stopped. It was resumed" in composer(*words).err
    assert composer.ps() == {}
