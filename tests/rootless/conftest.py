"""An ordinary user who exists only in a mount namespace, with a home, subordinate ids and the image `busybox`."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.rootless.as_user import FIRST, UID
from tests.scenario.command import Result

HERE = Path(__file__).resolve().parent
PATIENCE = 20.0
IMPORT = """
import os, sys
from engine.paths import Roots
from engine.rootless.enter import enter
roots = Roots.from_environment(os.environ, os.geteuid())
enter(roots, make=True)
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.spec.image import ImageConfig
from engine.store import Store
config = ImageConfig(environment=("PATH=/bin",), command=("sh",))
import_rootfs(ImageStore(Store(roots)), sys.stdin.buffer, tags=["busybox"], config=config)
"""


def _pipes(data):
    return {"input": data, "capture_output": True}


class User:
    def __init__(self, home):
        self.home = home
        self.project = home / "project"
        self.state = home / ".local/share/composer"
        self.run_root = home / "run/composer"
        for folder in (self.project, home / "run"):
            folder.mkdir()
        for folder in (home, self.project, home / "run"):
            os.chown(folder, UID, UID)
        (home / "run").chmod(0o700)

    def run(self, *command, stdin=None, code=0, environ=None, streams=None):
        """Run a command as the user; it must exit with `code` (None: any). `streams`: a file in place of its standard
        streams."""
        done = subprocess.run(
            [sys.executable, HERE / "as_user.py", self.home, *command],
            cwd=self.project,
            **({"stdin": streams, "stdout": streams, "stderr": streams} if streams else _pipes(stdin)),
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environ or {})},
            timeout=60,
        )
        out, err = (done.stdout or b"").decode(), (done.stderr or b"").decode()
        done = Result(["", "", "", *map(str, command)], done.returncode, out, err)
        assert code is None or done.code == code, done
        return done

    def __call__(self, *words, **options):
        """`composer` in the user's project."""
        code = "import os, sys; os.chdir('project'); from composer.cli.main import main; sys.exit(main())"
        return self.run(sys.executable, "-c", code, *words, **options)

    def write(self, **files):
        for name, text in files.items():
            (self.project / {"compose": "compose.yaml"}.get(name, name)).write_text(text)

    def processes(self):
        """pid → command line, of all processes with one of the user's ids."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                uid = entry.stat().st_uid if entry.name.isdigit() else 0
                if (uid == UID or FIRST <= uid < FIRST + 65536) and (command := (entry / "cmdline").read_bytes()):
                    found[int(entry.name)] = command.replace(b"\0", b" ").decode()
        return found

    def until_nothing_is_left(self):
        deadline = time.monotonic() + PATIENCE
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


@pytest.fixture(scope="session")
def home():
    """A short path: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ct-") as folder:
        home = Path(folder) / "h"
        home.mkdir()
        Path(folder).chmod(0o755)
        yield home


@pytest.fixture(scope="session")
def account(home, busybox_rootfs):
    for program in ("newuidmap", "slirp4netns"):
        assert shutil.which(program), f"{program} is missing: scripts/prepare test"
    user = User(home)
    user.run(sys.executable, "-c", IMPORT, stdin=busybox_rootfs)
    yield user
    user.until_nothing_is_left()


@pytest.fixture
def user(account):
    """With an empty project, which is brought down at the end."""
    yield account
    account("down", "-v", "-t", "0", "--remove-orphans", code=None)
    for path in account.project.iterdir():
        path.unlink()
