"""Copies of trees, compared entry by entry; also under attack by a process that replaces new entries."""

import contextlib
import os
import stat
import subprocess
import sys

import pytest

from engine.filetree.copy import copy_tree
from tests.deep import make_deep

pytestmark = pytest.mark.root
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw=ep, struct vfs_cap_data (capabilities(7))."""


def facts(top):
    """Path → all attributes of the entry."""
    found, groups = {}, {}
    for folder, folders, files in os.walk(top):
        for name in (".", *folders, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            link = os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""
            data = open(path, "rb").read() if stat.S_ISREG(status.st_mode) else b""
            attributes = {
                a: os.getxattr(path, a, follow_symlinks=False) for a in os.listxattr(path, follow_symlinks=False)
            }
            identity = groups.setdefault(status.st_ino, len(groups)) if status.st_nlink > 1 and data else None
            found[os.path.relpath(path, top)] = (
                status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev, link, data, attributes,
                identity and status.st_nlink,
            )  # fmt: skip
    return found


@pytest.fixture
def pair(tmp_path):
    paths = tmp_path / "source", tmp_path / "target"
    for path in paths:
        path.mkdir()
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in paths]
    yield (*paths, *fds)
    for fd in fds:
        os.close(fd)


def test_copy_equals_original(pair):
    source, target, reading, writing = pair
    (source / "dir/sub").mkdir(parents=True)
    (source / "dir/sub/file").write_text("text")
    os.link(source / "dir/sub/file", source / "dir/hard")
    os.link(source / "dir/sub/file", source / "a")
    (source / "link").symlink_to("/etc/passwd")
    os.link(source / "link", source / "link2", follow_symlinks=False)
    os.mkfifo(source / "fifo")
    os.mknod(source / "device", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    (source / "odd\udcff\n name").write_bytes(b"\0" * 5000)
    os.mkdir(source / "sticky")
    (source / "ping").write_text("program")
    for number, (path, mode) in enumerate(
        {"dir": 0o2750, "dir/sub/file": 0o4711, "fifo": 0o622, "device": 0o604, "sticky": 0o1777, "ping": 0o755}.items()
    ):
        os.chown(source / path, number + 10, number + 20)
        os.chmod(source / path, mode)
    os.lchown(source / "link", 7, 8)
    os.setxattr(source / "ping", "security.capability", CAPABILITY)
    os.setxattr(source / "dir", "user.note", b"value")
    os.chmod(source, 0o711)
    for path in ("dir/sub/file", "dir", "fifo", "link", "device", "."):
        os.utime(source / path, ns=(1_000_000_007, 1_234_567_890_123), follow_symlinks=False)
    copy_tree(reading, writing)
    assert facts(target) == facts(source)
    assert (target / "dir/hard").samefile(target / "a")
    assert (target / "dir/hard").samefile(target / "dir/sub/file")


def test_deep_trees_with_hard_links(pair, few_descriptors):
    source, target, reading, writing = pair
    make_deep(reading, 2500, "dd")
    make_deep(reading, 200, "n" * 250)
    os.chdir(source)
    try:
        for _ in range(100):
            os.chdir("n" * 250)
        with open("first", "w") as file:
            file.write("x")
        os.link("first", "second")
    finally:
        os.chdir("/")
    copy_tree(reading, writing)
    count = subprocess.run(["find", target, "-depth", "-type", "f", "-links", "2"], capture_output=True, check=True)
    assert count.stdout.count(b"\n") == 2
    count = subprocess.run(["find", target, "-depth", "-name", "end"], capture_output=True, check=True)
    assert count.stdout.count(b"\n") == 2


SWAP = """
import os, stat, sys
folder, victim = sys.argv[1:]
os.chdir(folder)
print("ready", flush=True)
while True:
    for name in os.listdir("."):
        try:
            if not name.startswith(".") and not stat.S_ISDIR(os.lstat(name).st_mode) and os.readlink(name) != victim:
                raise OSError
        except OSError:
            try:
                os.symlink(victim, "." + name)
                os.rename("." + name, name)
            except OSError:
                pass
"""


@contextlib.contextmanager
def swapping(folder, victim):
    """An attacker that replaces each new entry of `folder` by a link to `victim`."""
    process = subprocess.Popen([sys.executable, "-c", SWAP, folder, victim], stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_replaced_name_does_not_redirect_copy(pair, tmp_path):
    source, target, reading, writing = pair
    victim = tmp_path / "victim"
    victim.write_text("secret")
    os.chmod(victim, 0o600)
    before = os.stat(victim)
    for number in range(300):
        os.mkfifo(source / f"p{number}", 0o666)
        (source / f"f{number}").write_text("x")
        (source / f"l{number}").symlink_to("x")
        os.lchown(source / f"l{number}", 1000, 1000)
    with swapping(target, victim):
        for _ in range(5):
            with contextlib.suppress(OSError):  # it notices, and gives up
                copy_tree(reading, writing)
            subprocess.run(["find", target, "-mindepth", "1", "-delete"], check=False)
    assert os.stat(victim) == before
    assert victim.read_text() == "secret"
