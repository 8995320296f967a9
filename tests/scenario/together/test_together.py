"""Several commands on one project at once: one supervisor serves them, one at a time; a command that only waits lets
others pass."""

import os
import signal
import time


def until_running(composer, service):
    deadline = time.monotonic() + 30
    while service not in composer.ps():
        assert time.monotonic() < deadline


def test_concurrent_ups(composer):
    both = [composer.start("up", "-d", "quick") for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0, 0], outputs
    assert len(composer.ps("-a")["quick"]) == 1


def test_down_need_not_wait_for_an_up_that_waits(composer):
    up = composer.start("up", "-d")
    until_running(composer, "slow")
    composer("down", "-t", "0")
    told = up.communicate(timeout=30)[0]
    assert up.returncode == 1
    assert "cancelled by another command: down" in told
    assert composer.ps("-a") == {}


def test_requests_for_other_services_do_not_wait(composer):
    composer.write(
        compose="""
        services:
          one: {image: busybox, command: [sleep, "1000"], init: true}
          slow: {image: busybox, command: [sleep, "3"]}
          after:
            image: busybox
            command: [sleep, "1000"]
            init: true
            depends_on: {slow: {condition: service_completed_successfully}}
        """
    )
    up = composer.start("up", "-d")
    until_running(composer, "one")
    until_running(composer, "slow")
    composer("stop", "-t", "0", "one")
    composer("run", "--rm", "--no-deps", "-T", "one", "true")
    assert up.poll() is None, up.communicate()[0]
    told = up.communicate(timeout=30)[0]
    assert up.returncode == 0, told
    assert composer.ps("-a")["one"][0]["State"] == "exited"
    assert "after" in composer.ps()


def test_an_interrupted_up_does_not_go_on(composer):
    up = composer.start("up", "-d")
    until_running(composer, "slow")
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=30)
    assert up.returncode == 130
    composer("up", "-d", "quick")
    assert "after" not in composer.ps()


def test_exec_while_up_waits(composer):
    composer.start("up", "-d")
    until_running(composer, "quick")
    assert composer("exec", "-T", "quick", "echo", "hello").out == "hello\n"


def test_an_interrupted_up_in_the_foreground_stops_what_it_has_started(composer):
    up = composer.start("up")
    until_running(composer, "slow")
    composer.interrupt(up)
    assert up.returncode == 130
    assert {containers[0]["State"] for containers in composer.ps("-a").values()} <= {"exited", "created"}


def test_the_supervisor_leaves_with_the_last_container(composer):
    composer.write(compose="services: {job: {image: busybox, command: ['true']}}\n")
    composer("up", "-d")
    deadline = time.monotonic() + 20
    while os.path.exists(f"{composer.roots.run}/{composer.name}"):
        assert time.monotonic() < deadline
    assert composer.ps("-a")["job"][0]["ExitCode"] == 0
