"""Random kills of commands that change images and the build cache, COMPOSER_KILLS times if more than 20, else three
times; `make kill-storm` 200.

Each round kills the command, the processes that it has started, such as the removal of layers in the background, or
both. The same command must then succeed, every image must run, and removing everything must leave an empty state
root.
"""

import contextlib
import os
import random
import signal
import subprocess
import time

import pytest

from engine.image.layer import mountpoints
from engine.paths import Roots
from tests.fault.test_storm import ROUNDS, SEED
from tests.scenario.command import Composer

ROOTFS, IMAGE, PULLED = "rootfs.tar", "storm/built", "localhost:5000/storm:1"
COMPOSE = f"services: {{built: {{image: {IMAGE}, build: .}}}}\n"
DOCKERFILE = """\
    FROM storm/base
    COPY . /here
    RUN mkdir /many && cd /many && seq 1 2000 | xargs touch
    RUN echo ready > /ready
"""
COMMANDS = (
    ("build",),
    ("build", "--no-cache"),
    ("image", "build", "--no-cache", "-t", IMAGE, "."),
    ("image", "rm", "-f", IMAGE),
    ("image", "save", "-o", "saved.tar", IMAGE),
    ("image", "load", "-i", "kept.tar"),
    ("image", "push", PULLED),
    ("image", "pull", PULLED),
    ("image", "import", ROOTFS, "storm/imported"),
    ("image", "prune", "-af"),
    ("builder", "prune", "-af"),
)
VICTIMS = ("command", "helpers", "command and helpers")
LATEST = 0.6
"""The latest time of a kill in seconds: about the duration of the longest command."""
ROUNDS = 3 if ROUNDS <= 20 else ROUNDS
KEPT = {"blobs", "layers", "cache", "composer.db", "composer.db-wal", "composer.db-shm", "reserve"}


@pytest.fixture
def images(tmp_path, request, registry, busybox_rootfs, roots):
    """The command line with roots of its own, the built image, and its copies in a file and in the registry."""
    own = Roots(f"{roots.state}-images", f"{roots.run}-images")
    command = Composer(tmp_path, own, request.path.parent)
    command.write({"Dockerfile": DOCKERFILE, ".dockerignore": "*.tar\ntmp\n"}, compose=COMPOSE)
    (command.folder / ROOTFS).write_bytes(busybox_rootfs)
    (command.folder / "tmp").mkdir()
    command.environ["TMPDIR"] = str(command.folder / "tmp")
    present(command)
    command("image", "save", "-o", "kept.tar", IMAGE)
    command("image", "push", PULLED)
    yield command
    command.end()
    subprocess.run(["rm", "-rf", own.state, own.run], check=True)


def present(images):
    """Make what the commands need, if it is not there."""
    images("image", "import", "--change", "ENV PATH=/bin", ROOTFS, "storm/base")
    images("build", "--quiet")
    images("image", "tag", IMAGE, PULLED)


def helpers(images):
    """The other processes of the command: keepers of build steps, and what removes layers in the background."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                with open(f"/proc/{entry}/cmdline", "rb") as file, open(f"/proc/{entry}/environ", "rb") as more:
                    if os.fsencode(images.roots.state) in file.read() + more.read():
                        found.append(int(entry))
    return found


def kill(images, process, victim):
    """Returns the number of killed processes."""
    pids = {process.pid} if "command" in victim else set()
    pids |= {*helpers(images)} - {process.pid} if "helpers" in victim else set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(pids)


def removed(images):
    """Remove everything; returns what is left."""
    names = images("image", "ls", "-aq").out.split()
    if names:
        images("image", "rm", "-f", *sorted(set(names)))
    images("builder", "prune", "-af")
    deadline = time.monotonic() + 10
    while True:
        left = [f"{path}: {found}" for path in places(images) if (found := set(os.listdir(path)) - {mountpoints.NAME})]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)  # the removal in the background


def places(images):
    yield from (images.roots.blobs, images.roots.layers, images.folder / "tmp", images.roots.run)
    for entry in os.scandir(images.roots.state):
        if entry.is_dir() and entry.name not in KEPT:
            yield entry.path


def one_round(images, chance, words):
    command = images.start(*words)
    time.sleep(chance.uniform(0, LATEST))  # this chooses the time of the kill
    victim = chance.choice(VICTIMS)
    killed = kill(images, command, victim)
    said = command.communicate(timeout=60)[0]
    how = f"{' '.join(words)}, killed {killed} ({victim}), ended with {command.returncode}: {said[-400:]}"
    try:
        if words[:2] == ("image", "save") and (images.folder / "saved.tar").exists():
            images("image", "load", "-i", "saved.tar")
        images(*words, code=None if words[1:2] in (("rm",), ("push",), ("save",)) else 0)
        present(images)
        for name in (IMAGE, PULLED):
            images("image", "inspect", name)
        assert images("--profile", "*", "run", "--rm", "-T", "built", "cat", "/ready", "/here/compose.yaml").out == (
            f"ready\n{COMPOSE}"
        )
        if chance.random() < 0.3:
            left = removed(images)
            present(images)
            assert not left, "left behind:\n" + "\n".join(left)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return f"{how}\n{error}"
    finally:
        (images.folder / "saved.tar").unlink(missing_ok=True)
    return None


@pytest.mark.timeout(0)
def test_kills_at_random(images, capsys):
    chance = random.Random(SEED)
    bad = []
    for number in range(ROUNDS):
        fault = one_round(images, chance, chance.choice(COMMANDS))
        if fault:
            bad.append(f"round {number}: {fault}")
            with capsys.disabled():
                print(bad[-1])
    assert not bad, f"{len(bad)} of {ROUNDS} rounds ended badly:\n" + "\n\n".join(bad)
    left = removed(images)
    assert not left, "left behind:\n" + "\n".join(left)
