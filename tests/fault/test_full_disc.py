"""A full disk, or one without inodes, does not lock the user out: stopping and removing work; other commands fail with
the reason and change nothing."""

import contextlib
import io
import itertools
import os
import shutil
import subprocess
import sys

import pytest

from composer.run.launch import Launch as SupervisorLaunch
from composer.run.launch import SupervisorLost
from engine.errors import KeeperLost
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.keeper.launch import Launch as KeeperLaunch
from engine.paths import Roots
from engine.session.group_store import claim, release
from engine.spec.image import ImageConfig
from engine.store import Store
from tests.scenario.command import SESSION

pytestmark = pytest.mark.root
COMPOSE = """
x-s: &s {image: busybox, network_mode: none, init: true, stop_grace_period: 1s}
services:
  quiet: {<<: *s, command: [sleep, "1000"]}
  logger: {<<: *s, command: [sh, -c, "while :; do echo line; sleep 0.01; done"]}
  greedy: {<<: *s, command: [sh, -c, "while :; do dd if=/dev/zero of=/v/$$RANDOM bs=4k; done 2>/dev/null"], volumes: ["data:/v"]}
  never: {<<: *s, command: ["true"], profiles: [never]}
  built: {build: {dockerfile_inline: "FROM busybox\\nRUN yes > /x"}, profiles: [never], network_mode: none}
volumes: {data: {}}
"""


def fill(folder):
    """Write to a file in `folder` until the disk is full, or create files there until it has no inodes."""
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        for number in itertools.count() if 0 < os.statvfs(folder).f_files < 10_000 else ():
            os.close(os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT))
        fd = os.open(f"{folder}/large", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with os.fdopen(fd, "ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))


def mounted(kind, place, image):
    """Mount a small disk: a tmpfs, which may have few inodes, or btrfs, which needs space even to overwrite and to
    shorten files."""
    if kind in ("tmpfs", "inodes"):
        few = ",nr_inodes=2000" if kind == "inodes" else ""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=64m,mode=700{few}", "tmpfs", place], check=True)
        return
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("needs mkfs.btrfs")
    with open(image, "wb") as file:
        file.truncate(160 << 20)
    subprocess.run(["mkfs.btrfs", "--quiet", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)


@pytest.fixture(params=["tmpfs", "inodes", "btrfs"])
def project(request, tmp_path, busybox_rootfs):
    """The command line with roots on a small disk, which other files fill once the project is running."""
    own = Roots(str(tmp_path / "state"), str(tmp_path / "run"))
    os.mkdir(own.state, 0o700)
    mounted(request.param, own.state, tmp_path / "disk")
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    name = f"{SESSION}full"

    def run(*words, code=0):
        environ = {**os.environ, **own.environment(), "PYTHONPATH": os.getcwd(), "COMPOSE_PROJECT_NAME": name}
        done = subprocess.run(
            [sys.executable, "-m", "composer", *words],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert code is None or bool(done.returncode) == bool(code), done.stderr
        assert "internal error" not in done.stderr
        if done.returncode:
            lacks = "has no inodes left" if request.param == "inodes" else "is full"
            assert f"The file system at {own.state} {lacks}." in done.stderr or "No space left" in done.stderr, (
                done.stderr
            )
        return done

    store = Store(own)
    import_rootfs(ImageStore(store), io.BytesIO(busybox_rootfs), tags=["busybox"], config=ImageConfig(command=("sh",)))
    store.close()
    run("create", "never")
    run("up", "-d")
    fill(f"{own.state}/others")
    run.own = own
    yield run
    run("down", "-v", "-t", "0", code=None)
    subprocess.run(["umount", "-l", own.state], check=True)


def test_running_containers_can_be_stopped_and_removed(project):
    assert project("ps", "-q").stdout.count("\n") == 3
    project("exec", "-T", "quiet", "true")
    project("build", "built", code=1)
    project("run", "--rm", "-T", "quiet", "true", code=1)
    project("up", "-d", "--force-recreate", "quiet", code=1)
    assert project("ps", "-q").stdout.count("\n") == 3
    project("pause", "quiet")
    project("unpause", "quiet")
    project("kill", "quiet")
    project("stop", "-t", "1", "logger")
    project("stop", "-t", "1", "greedy")
    project("rm", "-f", "quiet", "never")
    project("down", "-v", "-t", "1")
    assert os.listdir(project.own.volumes) == os.listdir(project.own.groups) == []


def test_down_removes_everything(project):
    project("down", "-v", "-t", "1")
    assert os.listdir(project.own.volumes) == os.listdir(project.own.groups) == []
    shutil.rmtree(f"{project.own.state}/others")
    project("up", "-d", "quiet")
    assert os.stat(f"{project.own.state}/reserve").st_size == 8 << 20


def test_container_that_cannot_restart_is_not_stopped(project):
    """Another process fills the reserve as soon as we free it: nothing is stopped that could not be restarted."""
    project("kill", "greedy")
    os.truncate(f"{project.own.state}/reserve", 4 << 20)
    fill(f"{project.own.state}/others")
    before = project("ps", "-q", "quiet", "logger").stdout
    for words in (["restart", "-t", "0", "quiet"], ["up", "-d", "--force-recreate", "quiet", "logger"]):
        assert f"The file system at {project.own.state} " in project(*words, code=1).stderr
        assert project("ps", "-q", "quiet", "logger").stdout == before
        fill(f"{project.own.state}/others")
    assert "The container keeps running." in project("restart", "-t", "0", "logger", code=1).stderr
    shutil.rmtree(f"{project.own.state}/others")
    project("restart", "-t", "0", "quiet", "logger")
    assert project("ps", "-q", "quiet", "logger").stdout == before


def test_removals_are_recorded_without_free_space(tmp_path):
    """Other processes take every block that we free: the database's log already has its own."""
    roots = Roots(str(tmp_path / "state"), str(tmp_path / "run"))
    os.mkdir(roots.state, 0o700)
    mounted("tmpfs", roots.state, None)
    store = Store(roots)
    try:
        for number in range(100):
            claim(store, str(number), f"name{number}", "group", "image")
        store.reserve_log()
        os.truncate(f"{roots.state}/reserve", 0)
        fill(f"{roots.state}/others")
        for number in range(100):
            release(store, str(number))
        assert os.statvfs(roots.state).f_bavail == 0
        assert not store.db.execute("SELECT * FROM containers").fetchall()
    finally:
        store.close()
        subprocess.run(["umount", "-l", roots.state], check=True)


def test_a_full_run_root_is_named(tmp_path):
    """Neither a supervisor nor a keeper can start there, nor write its reason to its log."""
    roots = Roots(str(tmp_path / "state"), str(tmp_path / "run"))
    os.mkdir(roots.run, 0o700)
    mounted("tmpfs", roots.run, None)
    try:
        fill(f"{roots.run}/others")
        with (
            pytest.raises(SupervisorLost, match=f"The file system at {roots.run} is full."),
            contextlib.closing(SupervisorLaunch(roots, "p", os.environ)) as launch,
        ):
            launch.wait()
        with (
            pytest.raises(KeeperLost, match=f"The file system at {roots.run} is full."),
            KeeperLaunch(roots, "p") as launch,
        ):
            launch.wait()
    finally:
        subprocess.run(["umount", "-l", roots.run], check=True)
