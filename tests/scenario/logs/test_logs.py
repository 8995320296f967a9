"""`logs` through the command line: over rotation, without a log, after recreation, followed."""

import json
import re


def test_logs(composer):
    composer("up", "-d")
    assert composer("logs", "-n", "1", "web").out == "web-1  | line 3\n"
    assert composer("logs", "--no-log-prefix", "web").out == "line 1\nline 2\nline 3\n"
    stamped = composer("logs", "-t", "web").out.splitlines()
    assert all(re.fullmatch(r"web-1  \| \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line \d", line) for line in stamped)
    first = stamped[0].split()[2]  # lines that arrived together have the same time
    count = sum(first in line for line in stamped)
    before = f"{first[:-10]}{int(first[-10:-1]) - 1:09d}Z"
    assert composer("logs", "--since", first, "--until", first, "web").out.count("\n") == count
    assert composer("logs", "--until", before, "web").out == ""
    assert composer("logs", "--until", "2001-02-03T04:05:06Z", "web").out == ""
    assert composer("logs", "--until", "2101-02-03T04:05:06Z", "web").out.count("\n") == 3
    assert composer("logs", "--since", "1m", "web").out.count("\n") == 3
    numbers = composer("logs", "--no-log-prefix", "small").out.split()
    assert numbers == [str(n) for n in range(int(numbers[0]), 20001)] and len(numbers) < 20000
    assert composer("logs", "-n", "4000", "--no-log-prefix", "small").out.split() == numbers[-4000:]
    mute = composer("logs", "mute")
    assert mute.out == "" and "mute-1: configured logging driver does not support reading" in mute.err


def test_a_last_line_without_its_newline(composer):
    """It is complete as soon as the container's exit is known."""
    script = {"command": ["printf", "one\ntwo"], "image": "busybox", "pull_policy": "never"}
    composer.write(compose=json.dumps({"services": {f"end{n}": script for n in range(8)}}))
    assert composer("up", "--no-log-prefix").out.count("two\n") == 8
    for n in range(8):
        assert composer("logs", "--no-log-prefix", f"end{n}").out == "one\ntwo\n"
    assert composer("logs", "-n", "1", "--no-log-prefix", "end0").out == "two\n"


def test_followed_through_recreation(composer):
    composer("up", "-d", "web")
    following = composer.start("logs", "-f", "--no-log-prefix", "web")
    for n in (1, 2, 3):
        assert following.stdout.readline() == f"line {n}\n"
    composer("up", "-d", "--force-recreate", "web")
    assert following.stdout.readline() == "web-1 has been recreated\n"
    assert following.stdout.readline() == "web-1 exited with code 143\n"
    for n in (1, 2, 3):
        assert following.stdout.readline() == f"line {n}\n"
    following.kill()


def test_sigterm_ends_it_as_an_interrupt_does(composer):
    composer("up", "-d", "web")
    following = composer.start("logs", "-f", "web")
    following.stdout.readline()
    following.terminate()
    assert following.wait(30) == 130


def test_logs_of_hooks(composer):
    composer.write(
        compose="""
        services:
          web:
            image: busybox
            init: true
            command: [sh, -c, "echo web; exec sleep 1000"]
            post_start: [{command: [sh, -c, "echo begun; echo on"]}]
            pre_stop: [{command: echo ending}]
        """
    )
    composer("up", "-d")
    following = composer.start("logs", "-f", "--hooks")
    assert {following.stdout.readline().replace(" ", "") for _ in range(3)} == {
        "web-1|web\n", "web-1[post_start]|begun\n", "web-1[post_start]|on\n"
    }  # fmt: skip
    composer("stop")
    rest = following.communicate(timeout=30)[0].replace(" ", "")
    assert "web-1[pre_stop]|ending\n" in rest and "web-1exitedwithcode143\n" in rest
    assert composer("logs").out == "web-1  | web\n"
    assert "[pre_stop]" in composer("logs", "--hooks").out


def test_a_bad_option_is_refused_with_its_place(composer):
    text = (composer.folder / "compose.yaml").read_text()
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "max-size: 20k" in line)
    column = text.splitlines()[line - 1].index("max-size") + 1
    composer.write(compose=text.replace("max-size: 20k", "max-sise: 20k"))
    done = composer("up", "-d", "small", code=1)
    place = f"compose.yaml:{line}:{column}: services.small.logging.options.max-sise: "
    assert f"{place}unknown log opt 'max-sise' for local log driver" in done.err
