"""`up` in the foreground with services without stored logs: their output is shown from the first byte."""

import re
import signal


def test_complete_output_without_log(composer):
    """Several containers that exit at once, with output on both streams, without a final newline, and larger than
    pipes."""
    composer.write(
        compose="""
        services:
          brief: {image: busybox, scale: 3, command: [sh, -c, 'echo begun; echo wrong >&2; printf "the end"'],
                  logging: {driver: none}}
          long: {image: busybox, command: [seq, "1", "100000"], logging: {driver: none}}
          uncached: {image: busybox, command: [echo, uncached], logging: {driver: local, options: {cache-disabled: "true"}}}
          hidden: {image: busybox, command: [seq, "1", "300000"], attach: false, logging: {driver: none}}
          kept: {image: busybox, command: [echo, kept]}
        """
    )
    done = composer("up")
    lines = [line.split("|", 1) for line in done.out.splitlines() if "|" in line]
    seen = {}
    for name, text in lines:
        seen.setdefault(name.strip(), []).append(text.removeprefix(" "))
    for number in (1, 2, 3):
        assert sorted(seen[f"brief-{number}"]) == ["begun", "the end"]
        assert re.search(rf"^brief-{number} +\| wrong$", done.err, re.MULTILINE)
        assert f"brief-{number} exited with code 0" in done.out + done.err
    assert seen["long-1"] == [str(number) for number in range(1, 100001)]
    assert (seen["uncached-1"], seen["kept-1"]) == (["uncached"], ["kept"])
    assert "hidden-1" not in seen and "cannot show" not in done.err


def test_a_gate_behind_much_output(composer):
    """Output that is written while the command waits for others does not block the container."""
    composer.write(
        compose="""
        services:
          loud:
            image: busybox
            command: [sh, -c, 'seq 1 300000; touch /done; exec sleep 1000']
            init: true
            logging: {driver: none}
            healthcheck: {test: [CMD, test, -e, /done], interval: 1s, start_interval: 100ms, start_period: 60s}
          after: {image: busybox, command: [echo, after], depends_on: {loud: {condition: service_healthy}}}
        """
    )
    done = composer("up", "--abort-on-container-exit", "-t", "1")
    assert "loud-1   | 300000\n" in done.out and "after-1  | after\n" in done.out


def test_running_and_restarted_services(composer):
    composer.write(
        compose="""
        services:
          talker:
            image: busybox
            command: [sh, -c, 'mkfifo /go; while :; do read x < /go || continue; echo heard $$x; [ $$x != end ] || exit 1; done']
            tty: true
            restart: on-failure
            stop_grace_period: 0s
            logging: {driver: none}
        """
    )

    def say(word):
        """To the container when it runs."""
        script = f"while ! test -p /go; do usleep 20000; done; echo {word} > /go"
        composer("exec", "-T", "talker", "timeout", "1", "sh", "-c", script, code=None)

    composer("up", "-d")
    up = composer.start("up")
    until(up, "Attaching to")
    heard(composer, up, say)
    heard(composer, up, say, "end")
    until(up, "exited with code 1 (restarting)")
    heard(composer, up, say)
    composer.interrupt(up)
    assert up.returncode in (0, 130)


def heard(composer, up, say, word="something"):
    """Call `say` until its word is received: no event reports that the command has attached, and a word sent twice at
    once is lost."""
    import threading

    done = threading.Event()

    def talk():
        while not done.is_set():
            say(word)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        until(up, f"| heard {word}")
    finally:
        done.set()
        thread.join()


def until(process, text):
    lines = []
    while not lines or lines[-1]:
        lines.append(process.stdout.readline())
        if text in lines[-1]:
            return
    raise AssertionError(f"no {text!r} in {lines}")


def test_a_stopped_or_killed_command_blocks_no_other(composer):
    """The supervisor does not wait for ever for a command that should attach."""
    composer.write(
        compose="""
        services:
          first: {image: busybox, command: [sleep, "1000"], init: true}
          mute: {image: busybox, command: [sleep, "1000"], init: true, logging: {driver: none}, depends_on: [first]}
        """
    )
    up = composer.start("up")
    until(up, "first-1")
    up.send_signal(signal.SIGSTOP)
    composer("up", "-d")
    assert {containers[0]["State"] for containers in composer.ps().values()} == {"running"}
    up.kill()
    up.wait()
