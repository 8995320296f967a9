"""Jobs, started by hand."""

import pytest


def test_a_job_runs_after_what_it_depends_on(composer):
    done = composer("run", "--rm", "seed")
    assert done.out == "schema\n"
    assert composer("ps", "--format", "{{.Service}} {{.State}}").out == "db running\n"
    assert composer("run", "--rm", "-e", "CODE=7", "seed", code=7).out == "schema\nschema\n"
    done = composer("up", "-d")
    assert "jobs are not started by up; trigger them with `composer run`: after, never, schema" in done.err
    assert "orphan" not in done.err
    composer("down", "-v", "-t", "0")
    assert not composer("ps", "-aq").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "never"), 'job "never" is declared with manual: false, it cannot be run manually'),
        (("run", "after"), 'job "never" is declared with manual: false, it cannot be triggered even as a dependency'),
        (("up", "schema"), 'job "schema" can only be triggered with "composer run"'),
        (("stop", "schema"), 'job "schema" can only be triggered with "composer run"'),
        (("logs", "seed"), 'job "seed" can only be triggered with "composer run"'),
    ],
)
def test_refused(composer, words, said):
    assert said in composer(*words, code=1).err
    assert not composer("ps", "-aq").out


def test_the_container_of_a_failed_run_does_not_make_the_job_a_service(composer):
    composer("run", "-e", "CODE=7", "seed", code=7)
    assert "seed" in composer("ps", "-a", "--format", "{{.Service}}").out.split()
    for command in ("logs", "ps", "events", "top", "images", "stats"):
        assert 'job "seed" can only be triggered with "composer run"' in composer(command, "seed", code=1).err


def test_a_key_that_a_job_cannot_have_stops_only_the_job(composer):
    composer.write(
        compose="""
        services: {web: {image: busybox, command: [sleep, "1000"], init: true}}
        jobs: {bad: {image: busybox, isolation: hyperv, triggers: {manual: true}}}
        """
    )
    composer("up", "-d")
    assert "jobs.bad.isolation: 'hyperv'" in composer("run", "bad", code=1).err
