"""Additions of Docker Compose 5.0 to 5.8 that no other test covers (docs/compatibility.md)."""

import json


def test_start_waits(composer):
    composer.write(
        compose="""
        services:
          web:
            image: busybox
            init: true
            command: [sh, -c, "until [ -e /healthy ]; do sleep 0.1; done; exec sleep 1000"]
            healthcheck: {test: "test -e /healthy", interval: 200ms, retries: 100}
        """
    )
    composer("up", "-d")
    composer("exec", "-T", "web", "touch", "/healthy")
    composer("stop", "-t", "0")
    done = composer("start", "--wait")
    assert f"Container {composer.name}-web-1 Healthy" in done.err
    assert composer.ps()["web"][0]["Health"] == "healthy"
    composer("exec", "-T", "web", "rm", "/healthy")
    composer("stop", "-t", "0")
    composer("start", "--wait", "--wait-timeout", "1", code=1)


def test_restart_and_run_execute_hooks(composer):
    composer.write(
        compose="""
        services:
          web:
            image: busybox
            init: true
            command: [sleep, "1000"]
            volumes: [notes:/notes]
            post_start: [{command: [sh, -c, "echo start >> /notes/lines"]}]
            pre_stop: [{command: [sh, -c, "echo stop >> /notes/lines"]}]
        volumes: {notes: {}}
        """
    )
    composer("up", "-d")
    composer("restart", "-t", "0")
    assert composer("exec", "-T", "web", "cat", "/notes/lines").out.split() == ["start", "stop", "start"]
    composer("run", "--rm", "-T", "web", "sh", "-c", "until [ $(wc -l < /notes/lines) = 4 ]; do sleep 0.1; done")


def test_compatible_names(composer):
    composer("up", "-d", environ={"COMPOSE_COMPATIBILITY": "1"})
    assert composer("ps", "--format", "{{.Name}}").out == f"{composer.name}_web_1\n"


def test_a_missing_env_file_stops_only_what_needs_it(composer):
    composer("up", "-d")
    composer.write(
        compose="""
        services:
          web: {image: busybox, command: [sleep, "1000"], init: true}
          other: {image: busybox, env_file: gone.env}
        """
    )
    assert "gone.env" in composer("up", "-d", "other", code=1).err
    composer("exec", "-T", "web", "true")
    composer("scale", "web=2")
    assert len(composer.ps()["web"]) == 2
    assert composer("config", "--services", "--no-env-resolution").out.split() == ["other", "web"]
    composer("logs", "web")
    composer("down", "-t", "0")


def test_names_are_checked(composer):
    assert "no such service: nosuch" in composer("events", "--until", "0s", "nosuch", code=1).err
    assert 'invalid --scale option "=2"' in composer("up", "-d", "--scale", "=2", code=1).err


def test_a_new_mounted_image_recreates(composer):
    composer.write(
        compose="""
        services:
          web:
            image: busybox
            init: true
            command: [sleep, "1000"]
            volumes: [{type: image, source: release-mounted, target: /m}]
          built:
            image: release-mounted
            build: {dockerfile_inline: "FROM busybox\\nRUN echo ${WORD:-one} > /word"}
            profiles: [build]
        """
    )
    composer("build", "built")
    composer("up", "-d", "web")
    assert composer("exec", "-T", "web", "cat", "/m/word").out == "one\n"
    composer("build", "built", environ={"WORD": "two"})
    assert "Recreated" in composer("up", "-d", "web").err
    assert composer("exec", "-T", "web", "cat", "/m/word").out == "two\n"
    composer("down", "-t", "0")
    composer("image", "rm", "release-mounted")


def test_flags_leave_out_stages(composer):
    composer.write(compose="services: {web: {image: 'busybox:${TAG:?}'}}\n")
    composer("config", "--services", code=1)
    assert composer("config", "--services", "--no-interpolate").out == "web\n"
    assert json.loads(composer("config", "--variables", "--format", "json").out)["TAG"]["Required"] is True


def test_ps_follows_the_clients_configuration(composer, tmp_path):
    composer("up", "-d")
    (tmp_path / "config.json").write_text(json.dumps({"psFormat": "{{.Service}} is {{.State}}"}))
    assert composer("ps", environ={"DOCKER_CONFIG": str(tmp_path)}).out == "web is running\n"
    assert composer("ps", "--format", "{{.Service}}", environ={"DOCKER_CONFIG": str(tmp_path)}).out == "web\n"


def test_output_of_create_and_quiet(composer):
    composer("create")
    assert composer("create").err == ""
    composer("start")
    assert composer("create").err == f" Container {composer.name}-web-1 Running\n"
    assert composer("config", "--environment", "-q").out == ""
    assert composer("config", "--services", "-q").out == "web\n"


def test_start_of_services_without_containers(composer):
    composer.write(
        compose="""
        services:
          web: {image: busybox, command: [sleep, "1000"], init: true}
          none: {image: busybox, command: [sleep, "1000"], init: true, scale: 0}
          off: {image: busybox, command: [sleep, "1000"], init: true, profiles: [p]}
        """
    )
    assert 'service "web" has no container to start' in composer("start", "web", code=1).err
    composer("up", "-d")
    composer("start", "none")
    composer("start", "web", "off")
    assert 'service "off" has no container to start' in composer("start", "off", code=1).err
    assert "no such service: off: disabled" in composer("up", "-d", "--scale", "off=2", code=1).err
    composer("up", "-d", "--scale", "off=1", "off")
    composer("--profile", "p", "up", "-d", "--scale", "off=2")
    composer("kill")
