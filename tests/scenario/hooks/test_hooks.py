"""post_start and pre_stop."""


def lines(composer):
    return composer("exec", "-T", "reader", "cat", "/notes/lines", code=None).out.splitlines()


def test_hooks_of_start_and_stop(composer):
    composer("up", "-d", "reader")
    composer("exec", "-T", "reader", "chmod", "777", "/notes")
    composer("exec", "-T", "reader", "sh", "-c", "touch /notes/lines; chmod 666 /notes/lines")
    composer("up", "-d")
    assert lines(composer) == ["started as 1000"]
    composer("stop", "web")
    assert lines(composer) == ["started as 1000", "stopping"]


def test_a_hook_that_fails_is_an_error_that_names_it(composer):
    composer.write(
        compose="""
        services:
          web:
            image: busybox
            command: [sleep, "1000"]
            init: true
            post_start: [{command: [sh, -c, 'echo why; exit 3']}]
        """
    )
    done = composer("up", "-d", code=1)
    for words in ("web hook exited with status 3", "why"):
        assert words in done.err
