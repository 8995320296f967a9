"""post_start, pre_stop and pre_start."""

from pathlib import Path


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


FAILING = """
        services:
          web:
            image: busybox
            command: [sleep, "1000"]
            init: true
            scale: {scale}
            environment: {{A: {scale}}}
            {kind}: [{{command: {command}}}]
        """


def test_the_error_of_a_failed_hook_ends_with_its_errors(composer):
    command = "[sh, -c, 'echo noise; echo why >&2; exit 5']"
    composer.write(compose=FAILING.format(scale=1, kind="post_start", command=command))
    said = composer("up", "-d", code=1).err
    assert "web hook exited with status 5: why" in said and "noise" not in said
    composer.write(compose=FAILING.format(scale=1, kind="post_start", command="[nosuch]"))
    assert 'web hook exited with status 127: exec: "nosuch"' in composer("up", "-d", "-t", "0", code=1).err


def test_a_failed_pre_stop_hook_prevents_a_stop_but_no_replacement(composer):
    command = "[sh, -c, 'exit 5']"
    composer.write(compose=FAILING.format(scale=2, kind="pre_stop", command=command))
    composer("up", "-d")
    for stopping in ("stop", "restart", "down"):
        assert "web hook exited with status 5" in composer(stopping, "-t", "0", code=1).err
    assert len(composer("ps", "-q").out.split()) == 2
    composer.write(compose=FAILING.format(scale=1, kind="pre_stop", command=command))
    done = composer("up", "-d", "-t", "0")
    assert "is stopped although web hook exited with status 5" in done.err
    assert composer("ps", "-a", "--format", "{{.State}}").out == "running\n"
    composer("kill")


PRE_START = """
    services:
      web:
        image: busybox
        command: [sh, -c, "sleep 1000"]
        init: true
        environment: {FROM: service}
        volumes: ["notes:/notes:ro"]
        pre_start:
          - command: [sh, -c, 'echo "prepared by $$FROM, $$OWN"; echo x >> /notes/lines']
            environment: {OWN: hook}
            volumes: ["notes:/notes"]
          - {command: [sh, -c, "test ! -e /notes/bad || { echo out of order >&2; exit 23; }"]}
      after: {image: busybox, command: [sleep, "1000"], init: true, depends_on: [web]}
      peek: {image: busybox, profiles: [peek], volumes: ["notes:/notes"]}
    volumes: {notes: {}}
    """


def hooks_of(composer):
    """The ids of existing containers of pre_start hooks."""
    folder = Path(composer.roots.state, "groups", composer.name)
    return [path.parent.name for path in folder.glob("*/spec.json") if "com.docker.compose.hook" in path.read_text()]


def test_pre_start_hooks_run_once_before_the_service(composer):
    composer.write(compose=PRE_START)
    shown = composer("up", "-d")
    assert "Running pre_start" in shown.err
    for again in (("up", "-d"), ("up", "-d", "--scale", "web=2")):
        composer(*again)
    assert composer("exec", "-T", "web", "cat", "/notes/lines").out == "x\n"
    composer("stop", "-t", "0", "web")
    composer("start", "web")
    assert composer("exec", "-T", "web", "cat", "/notes/lines").out == "x\nx\n"
    assert not hooks_of(composer)


def test_a_failed_pre_start_hook_stays_until_down(composer):
    composer.write(compose=PRE_START)
    composer("run", "--rm", "peek", "touch", "/notes/bad")
    for _ in range(2):
        done = composer("up", "-d", code=1)
        assert 'service "web" pre_start[1] exited with code 23: out of order (hook container ' in done.err
        (kept,) = hooks_of(composer)
        assert f"{kept[:12]} retained for inspection" in done.err
        states = composer("ps", "-a", "--format", "{{.Service}} {{.State}}").out.splitlines()
        assert sorted(states) == ["after created", "web created"]
    composer("down", "-v", "-t", "0")


def test_up_shows_output_of_pre_start_hooks(composer):
    composer.write(compose=PRE_START)
    composer("run", "--rm", "peek", "touch", "/notes/bad")
    done = composer("up", code=1)
    assert "web pre_start[0] ->  | prepared by service, hook" in done.out


def test_pre_start_hooks_of_each_replica_are_refused(composer):
    composer.write(
        compose="""
        services: {web: {image: busybox, pre_start: [{command: ["true"], per_replica: true}]}}
        """
    )
    done = composer("up", "-d", code=1)
    assert 'service "web" pre_start[0]: per_replica is not yet supported' in done.err
    assert not composer("ps", "-aq").out


def test_a_container_that_ends_before_its_hook(composer):
    """Its output and exit code count, not that the hook found no process, or was killed with it."""
    composer.write(
        compose="""
        services:
          brief:
            image: busybox
            command: [sh, -c, 'echo brief; exit 5']
            post_start: [{command: [sleep, "2"]}]
        """
    )
    for _ in range(3):
        done = composer("run", "--rm", "brief", code=5)
        assert done.out == "brief\n" and "setns" not in done.err
    assert "brief-1  | brief\n" in composer("up", "--exit-code-from", "brief", code=5).out
