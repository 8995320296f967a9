"""State and run roots are closed to other users, whatever the umask, the first command, and their creator."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from engine.errors import OperationFailed
from engine.paths import Roots, make_private

COMPOSE = """
services:
  a:
    image: busybox
    network_mode: none
    command: [sh, -c, "echo logged"]
    volumes: ["data:/v"]
    environment: {PASSWORD: s3cr3t}
  b: {build: {dockerfile_inline: "FROM busybox\\nRUN echo x > /x\\n"}, network_mode: none, profiles: [b]}
volumes: {data: {}}
"""
CONTENT = ("/diff", "/upper", "/_data", "/work")
"""What containers see has the modes that they need."""


def open_to_others(top):
    found = []
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not f"{folder}/{name}".endswith(CONTENT)]
        for path in (folder, *(f"{folder}/{name}" for name in files)):
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode) and mode & 0o077:
                found.append(f"{mode & 0o7777:o} {path}")
    return found


@pytest.fixture
def command(roots, tmp_path):
    """The command line with its own roots, blobs and layers copied from another folder, and any umask."""
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    own = Roots(str(tmp_path / "above/state"), str(tmp_path / "above/run"))

    def run(*words, umask=0, check=True):
        environ = {**os.environ, **own.environment(), "PYTHONPATH": os.getcwd(), "COMPOSE_PROJECT_NAME": "private"}
        done = subprocess.run(
            [sys.executable, "-m", "composer", *words],
            cwd=tmp_path, env=environ, umask=umask, check=False, capture_output=True, text=True,
        )  # fmt: skip

        assert not check or not done.returncode, done.stderr
        return done

    run.own = own
    yield run
    if os.path.exists(own.groups):
        run("down", "-v", "-t", "0", check=False)
    shutil.rmtree(tmp_path / "above", ignore_errors=True)


def import_image(own, busybox_rootfs):
    import io

    from engine.image.images import ImageStore
    from engine.image.importing import import_rootfs
    from engine.spec.image import ImageConfig
    from engine.store import Store

    store = Store(own)
    import_rootfs(ImageStore(store), io.BytesIO(busybox_rootfs), tags=["busybox"], config=ImageConfig(command=("sh",)))
    store.close()


FIRST = (("config",), ("ps",), ("ls",), ("volumes",), ("up",))


@pytest.mark.parametrize("words", FIRST, ids=" ".join)
def test_first_command_creates_private_roots(command, words):
    command(*words, check=False)
    for root in (command.own.state, command.own.run):
        assert not os.path.exists(root) or open_to_others(root) == []


def test_life_of_a_project(command, busybox_rootfs):
    """Roots that an administrator created with any mode are closed; so are the files of an older version."""
    for root in (command.own.state, command.own.run, command.own.groups, command.own.blobs):
        os.makedirs(root, exist_ok=True)
        os.chmod(root, 0o755)
    import_image(command.own, busybox_rootfs)
    os.chmod(command.own.database, 0o644)
    command("up", "-d")
    command("build", "b")
    command("wait", "a", check=False)
    assert command("logs", "--no-log-prefix", "a").stdout == "logged\n"
    loose = open_to_others(command.own.state) + open_to_others(command.own.run)
    given = (command.own.groups, command.own.blobs, os.path.dirname(command.own.blobs))
    assert [line for line in loose if not line.endswith(given)] == []
    assert stat.S_IMODE(os.stat(f"{command.own.volumes}/private_data/_data").st_mode) == 0o755
    secret = subprocess.run(
        ["grep", "-rl", "s3cr3t", command.own.state, command.own.run], capture_output=True, text=True, check=False
    )
    assert all(os.stat(path).st_mode & 0o077 == 0 for path in secret.stdout.splitlines())


def test_a_folder_of_others_is_refused(tmp_path):
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "others").mkdir()
    with pytest.raises(OperationFailed, match="other users can write to it"):
        Roots(str(shared), str(tmp_path / "run")).close_to_others()
    shared.chmod(0o755)
    Roots(str(shared), str(tmp_path / "run")).close_to_others()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755  # as /var/lib


def test_every_missing_folder_is_private(tmp_path):
    before = os.umask(0)
    try:
        make_private(str(tmp_path / "a/b/c"))
    finally:
        os.umask(before)
    for path in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700
    make_private(str(tmp_path / "a/b/c"))
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private(str(tmp_path / "file"))
