"""Invalid input gives one clear message, the right exit code, and nothing half-made (which the fixture checks)."""

import os
import subprocess
import tempfile

import pytest


def refused(composer, *words, **options):
    done = composer(*words, code=None, **options)
    assert done.code not in (0, None), done
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    return done.err


def test_an_unknown_key_has_its_place(composer):
    composer.write(compose="services:\n  web:\n    image: busybox\n    comand: [sleep]\n")
    message = refused(composer, "up", "-d")
    assert "compose.yaml:4:5" in message
    assert "comand" in message


def test_a_required_variable(composer):
    composer.write(compose="services:\n  web:\n    image: busybox:${TAG:?say which}\n")
    message = refused(composer, "up", "-d")
    assert "TAG" in message
    assert "say which" in message


def test_broken_yaml(composer):
    composer.write(compose="services:\n  web: [\n")
    assert "compose.yaml" in refused(composer, "up", "-d")


def test_missing_compose_file(composer):
    os.unlink(composer.folder / "compose.yaml")
    assert "no configuration file" in refused(composer, "up", "-d")


def test_a_missing_image(composer):
    composer.write(compose="services: {web: {image: 'localhost:1/no/such:image'}}\n")
    message = refused(composer, "up", "-d")
    assert "localhost:1/no/such:image" in message


def test_a_command_that_does_not_exist(composer):
    composer.write(compose="services: {web: {image: busybox, command: [no-such-program]}}\n")
    assert "no-such-program" in refused(composer, "up", "-d")


def test_no_such_service(composer):
    assert "no such service: wbe" in refused(composer, "up", "-d", "wbe")


def test_pools_that_overlap(composer):
    composer.write(
        compose="""
        services: {web: {image: busybox, command: [sleep, "1000"], networks: [one, two]}}
        networks:
          one: {ipam: {config: [{subnet: 10.77.0.0/16}]}}
          two: {ipam: {config: [{subnet: 10.77.1.0/24}]}}
        """
    )
    message = refused(composer, "up", "-d")
    assert "10.77." in message
    assert "overlap" in message.lower()


def test_a_bind_source_that_is_missing(composer):
    composer.write(
        compose="""
        services:
          web:
            image: busybox
            volumes: [{type: bind, source: ./missing, target: /x, bind: {create_host_path: false}}]
        """
    )
    assert "missing" in refused(composer, "up", "-d")


def test_a_full_disk(composer):
    """The state root on a full file system; the message names the errno."""
    full = tempfile.mkdtemp(prefix="cf-", dir="/tmp")
    used = subprocess.run(
        ["du", "-sk", composer.roots.state], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={int(used) + 16384}k", "tmpfs", full], check=True)
    try:
        # By another process: closing a database's file here would drop this process's locks on it (fcntl(2)).
        subprocess.run(["cp", "-a", composer.roots.state, f"{full}/s"], check=True)
        with open(f"{full}/fill", "wb", buffering=0) as file, pytest.raises(OSError, match="space"):
            while True:
                file.write(bytes(4096))
        message = refused(composer, "up", "-d", environ={"COMPOSER_STATE_ROOT": f"{full}/s"})
        assert "ENOSPC" in message or "full" in message or "space" in message
        os.unlink(f"{full}/fill")
        composer("down", "-v", environ={"COMPOSER_STATE_ROOT": f"{full}/s"})
    finally:
        subprocess.run(["umount", "-l", full], check=True)
        os.rmdir(full)


def test_not_root(composer):
    os.chmod(composer.folder.parent, 0o755)
    command = [*composer.command("up", "-d")]
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command],
        cwd="/", env={**composer.environ, "COMPOSE_FILE": "/dev/null"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode
    assert "use the run root" in done.stderr and "run composer as root" in done.stderr
    assert "Traceback" not in done.stderr
