"""What commands of Docker Compose 5 print and do not print (docs/releases.md)."""

import subprocess


def test_nothing_to_build(composer):
    assert "No services to build" in composer("build").err


def test_a_quiet_run(composer):
    done = composer("run", "--rm", "--quiet", "-T", "web", "echo", "word")
    assert (done.out, done.err) == ("word\n", "")


def test_a_terminal_needs_one(composer):
    done = composer("run", "--rm", "--tty", "web", "true", code=1, stdin="word")
    assert "cannot attach stdin to a TTY-enabled container because stdin is not a terminal" in done.err
    assert not composer.ps("-a")


def test_the_end_of_a_run_does_not_end_up(composer):
    up = subprocess.Popen(
        composer.command("up", "--abort-on-container-exit"), cwd=composer.folder, env=composer.environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    while b"Attaching to" not in up.stdout.readline():
        pass
    composer("run", "--rm", "-T", "web", "true")
    assert composer.ps()["web"][0]["State"] == "running"
    assert up.poll() is None
    composer("stop", "-t", "0")
    up.communicate(timeout=30)
