"""Starts in order, gated by health and completion."""

import json


def started(composer):
    return [
        json.loads(line)["service"]
        for line in composer("events", "--json", "--since", "1h", "--until", "0s").out.splitlines()
        if json.loads(line)["action"] == "start"
    ]


def test_a_chain_of_health(composer):
    composer("up", "-d")
    # c waited for b, which waited for a; nothing waited for c's own health.
    health = {service: containers[0]["Health"] for service, containers in composer.ps().items()}
    assert health["a"] == health["b"] == "healthy"
    assert started(composer) == ["a", "b", "c"]


def test_wait(composer):
    composer("up", "--wait")
    assert composer.ps()["c"][0]["Health"] == "healthy"


def test_an_unhealthy_dependency_is_explained(composer):
    composer.write(
        compose="""
        services:
          db:
            image: busybox
            command: [sh, -c, 'echo out of cheese; exec sleep 1000']
            init: true
            healthcheck: {test: 'echo no connection; exit 3', interval: 100ms, retries: 2}
          web:
            image: busybox
            command: [sleep, "1000"]
            depends_on: {db: {condition: service_healthy}}
        """
    )
    done = composer("up", "-d", code=1)
    for text in ("unhealthy", "db", "no connection", "3", "out of cheese"):
        assert text in done.err
    assert "web" not in composer.ps()


def test_a_failed_completion_stops_what_waits_for_it(composer):
    composer.write(
        compose="""
        services:
          migrate: {image: busybox, command: [sh, -c, 'echo broken; exit 4']}
          web:
            image: busybox
            command: [sleep, "1000"]
            depends_on: {migrate: {condition: service_completed_successfully}}
        """
    )
    done = composer("up", "-d", code=1)
    assert "migrate" in done.err
    assert "4" in done.err
    assert "web" not in composer.ps()


def test_completion_lets_the_next_start(composer):
    composer.write(
        compose="""
        services:
          migrate:
            image: busybox
            command: [sh, -c, 'echo done > /shared/done']
            volumes: ["shared:/shared"]
          web:
            image: busybox
            command: [sh, -c, 'cat /shared/done; exec sleep 1000']
            init: true
            volumes: ["shared:/shared"]
            depends_on: {migrate: {condition: service_completed_successfully}}
        volumes: {shared: }
        """
    )
    composer("up", "-d")
    assert composer.ps("-a")["migrate"][0]["ExitCode"] == 0
    assert "done" in composer("logs", "web").out


def test_a_cycle_is_named(composer):
    composer.write(
        compose="""
        services:
          a: {image: busybox, depends_on: [b]}
          b: {image: busybox, depends_on: [c]}
          c: {image: busybox, depends_on: [a]}
        """
    )
    done = composer("up", "-d", code=None)
    assert done.code
    assert "cycle" in done.err
    assert all(service in done.err for service in "abc")
