"""`up` in the foreground."""

import re


def test_logs_interleave_and_ctrl_c_stops(composer):
    up = composer.start("up")
    seen = ""
    while not all(text in seen for text in ("first of one", "first of two", "wrong")):
        line = up.stdout.readline()
        assert line, seen
        seen += line
    assert re.search(r"^one-1 +\| first of one$", seen, re.MULTILINE)
    composer.interrupt(up)
    assert up.returncode in (0, 130)
    assert {containers[0]["State"] for containers in composer.ps("-a").values()} == {"exited"}


def test_exit_code_from(composer):
    composer.write(
        compose="""
        services:
          test: {image: busybox, command: [sh, -c, 'echo tested; exit 5']}
          server: {image: busybox, command: [sleep, "1000"], init: true}
        """
    )
    done = composer("up", "--exit-code-from", "test", code=5)
    assert "tested" in done.out


def test_logs_follow(composer):
    composer("up", "-d")
    logs = composer.start("logs", "-f", "one")
    assert "first of one" in logs.stdout.readline()
    composer("stop", "-t", "1", "one")
    # There is nothing left to follow once the container has exited.
    assert logs.wait(timeout=20) == 0


def test_restarted_containers_are_followed(composer):
    composer.write(
        compose="""
        services:
          flaky: {image: busybox, command: [sh, -c, 'echo begun; exit 3'], restart: "on-failure:2"}
        """
    )
    done = composer("up")
    assert done.out.count("flaky-1  | begun\n") == 3
    ends = re.findall(r"flaky-1 exited with code (.*)", done.out + done.err)
    assert ends == ["3 (restarting)", "3 (restarting)", "3"]


def test_only_attached_services_report_exits(composer):
    composer.write(
        compose="""
        services:
          quiet: {image: busybox, command: [sh, -c, 'echo hidden; exit 3'], attach: false}
          shown: {image: busybox, command: [echo, seen], depends_on: [quiet]}
        """
    )
    assert composer("up").out.splitlines() == ["Attaching to shown-1", "shown-1  | seen", "shown-1 exited with code 0"]
    assert composer("up", "quiet", "--no-attach", "quiet").out == "quiet-1 exited with code 3\n"
    assert composer("up", "quiet", "shown").out.splitlines()[0] == "Attaching to shown-1"
    assert "quiet-1  | hidden" in composer("up", "quiet").out, "nothing else was asked for"
    # If its exit ends the command, that is reported.
    assert "quiet-1 exited with code 3\n" in composer("up", "--exit-code-from", "quiet", code=3).out
