"""A file system that the kernel made read-only after an error: running containers can be stopped; the rest fails with
the reason."""

import io
import os
import subprocess
import sys

import pytest

from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.paths import Roots
from engine.spec.image import ImageConfig
from engine.store import Store
from tests.scenario.command import SESSION

pytestmark = pytest.mark.root
COMPOSE = """
x-s: &s {image: busybox, network_mode: none, init: true, stop_grace_period: 1s, command: [sleep, "1000"]}
services: {one: *s, two: *s, three: *s}
"""


@pytest.fixture
def project(tmp_path, busybox_rootfs):
    """The command line with a state root on a separate ext4; `abort` does to it what a disk error does."""
    disc, own = tmp_path / "disc", Roots(str(tmp_path / "state"), str(tmp_path / "run"))
    os.mkdir(own.state, 0o700)
    with open(disc, "wb") as file:
        file.truncate(96 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", disc], check=False).returncode == 0
    if not made or subprocess.run(["mount", "-o", "loop", disc, own.state], check=False).returncode:
        pytest.skip("no ext4 on a loop device here")
    os.chmod(own.state, 0o700)
    os.rmdir(f"{own.state}/lost+found")
    (tmp_path / "compose.yaml").write_text(COMPOSE)

    def run(*words, code=0):
        environ = {**os.environ, **own.environment(), "PYTHONPATH": os.getcwd(), "COMPOSE_PROJECT_NAME": f"{SESSION}ro"}
        done = subprocess.run(
            [sys.executable, "-m", "composer", *words],
            cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, done.stderr
        if done.returncode:
            assert f"The file system at {own.state} is read-only." in done.stderr, done.stderr
        return done.stdout

    run.abort = lambda: subprocess.run(["mount", "-o", "remount,abort", own.state], check=True)
    try:
        store = Store(own)
        import_rootfs(
            ImageStore(store), io.BytesIO(busybox_rootfs), tags=["busybox"], config=ImageConfig(command=("sh",))
        )
        store.close()
        run("up", "-d")
        yield run
        run("kill", code=None)
    finally:
        subprocess.run(["umount", "-l", own.state], check=True)


def test_running_containers_can_be_stopped(project):
    project.abort()
    assert project("ps", "-q").count("\n") == 3
    project("exec", "-T", "one", "true")
    project("up", "-d", "--force-recreate", "one", code=1)
    assert project("ps", "-q").count("\n") == 3
    project("pause", "one")
    project("unpause", "one")
    project("kill", "one")
    project("stop", "-t", "1", "two")
    assert project("ps", "--services") == "three\n"
    project("down", "-v", "-t", "1", code=1)
    assert project("ps", "-q") == ""
