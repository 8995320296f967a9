"""A container exchanges files, FIFOs, devices, links and directories while composer reads or writes its files.

Whatever has a name at that moment: nothing outside the container is read or written, no device is opened (the container
may create those that its device cgroup closes to it), no FIFO blocks, and no archive is damaged.
"""

import contextlib
import io
import os
import re
import tarfile
import time

import pytest

from engine.container import own_files
from engine.errors import EngineError
from engine.filetree.size import tree_size
from engine.spec.container import Mount
from engine.spec.state import Endpoint
from tests.security.host import PYTHON

SECONDS = 0.3
"""The duration of each attack."""
HOSTS = "of the host"
SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
def prepare(place):
    os.makedirs(place + "/d/below")
    for name in ("f", "d/below/f"):
        with open(f"{place}/{name}", "wb") as file:
            file.write(b"A" * 70000)
    os.link(place + "/d/below/f", place + "/d/second")
    os.mkfifo(place + "/fifo")
    os.mknod(place + "/device", 0o20666, os.makedev(1, 8))
    os.symlink(MARKER, place + "/link")
    os.symlink(FOLDER, place + "/dlink")
for place in ("/v/t", "/t"):
    prepare(place)
places = [os.open(place, os.O_RDONLY) for place in ("/v/t", "/t")]
print("swapping", flush=True)
while True:
    for fd in places:
        for one, other in ((b"f", b"fifo"), (b"f", b"device"), (b"f", b"link"), (b"d", b"dlink"), (b"f", b"d")):
            libc.renameat2(fd, one, fd, other, 2)
            libc.renameat2(fd, b"d/below/f", fd, b"d/second", 2)
"""


@pytest.fixture
def secret(tmp_path):
    """A file of the host, in a folder of its own that must stay as it is."""
    folder = tmp_path / "hosts"
    folder.mkdir()
    (folder / "marker").write_text(HOSTS)
    yield folder / "marker"
    assert os.listdir(folder) == ["marker"] and (folder / "marker").read_text() == HOSTS


@pytest.fixture
def attacker(host, secret):
    """A container that exchanges files in /v/t, on a volume, and in /t, in its own file system."""
    mounts = (*PYTHON, Mount(type="volume", source=host.volume(), target="/v"))
    script = SWAP.replace("MARKER", repr(str(secret))).replace("FOLDER", repr(str(secret.parent)))
    record = host.start("/usr/bin/python3", "-I", "-S", "-c", script, mounts=mounts)
    while "swapping" not in host.output(record):
        assert host.session.record(record.id).state.status.alive, host.output(record)
    return record


def rounds():
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        yield


def intact(data):
    """The archive can be read to its end, and its files have only the container's content."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if member.isreg() and os.path.basename(member.name) in ("f", "d", "fifo", "device", "link", "second"):
                assert set(tar.extractfile(member).read()) <= {0, ord("A")}, member.name
    assert data.endswith(bytes(1024)) and HOSTS.encode() not in data


@contextlib.contextmanager
def archive():
    """A descriptor to write an archive to, which is then checked."""
    with os.fdopen(os.memfd_create("archive"), "r+b") as file:
        yield file.fileno()
        file.seek(0)
        data = file.read()
    if data:
        intact(data)


@pytest.mark.parametrize("path", ["/v/t/.", "/t", "/v/t/d/below", "/t/f"])
def test_copies_out_of_it(host, attacker, path):
    for _ in rounds():
        with contextlib.suppress(EngineError), archive() as fd:
            host.engine.copy_out(host.group, attacker.id, path, fd, follow=True)
        with contextlib.suppress(EngineError):
            assert host.engine.path_status(host.group, attacker.id, path).size != len(HOSTS)


def test_exports(host, attacker):
    for _ in rounds():
        with archive() as fd:
            host.engine.export(host.group, attacker.id, fd)


def test_commits(host, attacker):
    for number, _ in enumerate(rounds()):
        name = f"races:{number}"
        host.engine.commit(host.group, attacker.id, name)
        with archive() as fd:
            host.engine.export_image(name, fd)
        host.engine.remove_image(name, force=True)


def test_listings_of_it(host, attacker):
    folder = f"{host.engine.folder(host.group, attacker.id)}/upper"
    for _ in rounds():
        paths = {path for path, _ in host.engine.changes(host.group, attacker.id)}
        assert not any("marker" in path for path in paths)
        assert tree_size(folder) < 1 << 20


@pytest.mark.parametrize("path", ["/v/t/d", "/t/d/", "/t/f", "/v/t/dlink/new"])
def test_copies_into_it(host, attacker, path):
    """The fixture checks the host's folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("one", "d/two"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            tar.addfile(entry, io.BytesIO(b"AAAA"))
    data = out.getvalue()
    for _ in rounds():
        with os.fdopen(os.memfd_create("archive"), "r+b", 0) as file:
            file.write(data)
            file.seek(0)
            with contextlib.suppress(EngineError):
                host.engine.copy_in(host.group, attacker.id, path, file.fileno())


ETC = """
import ctypes, os, threading
libc = ctypes.CDLL(None)
os.makedirs("/other")
for name in ("hosts", "passwd"):
    os.mkfifo("/other/fifo-" + name)
    os.mknod("/other/device-" + name, 0o20666, os.makedev(1, 5))
    os.symlink(MARKER, "/other/link-" + name)
os.mkfifo("/other/hosts")
with open("/other/passwd", "w") as file:
    file.write("web:x:1:1::/:/bin/sh")
def write(path):
    while True:
        fd = os.open(path, os.O_RDWR)
        os.write(fd, b"x")
        os.close(fd)
threading.Thread(target=write, args=("/other/fifo-passwd",), daemon=True).start()
print("swapping", flush=True)
while True:
    for kind in ("fifo", "device", "link"):
        for name in ("hosts", "passwd"):
            ours, theirs = f"/etc/{name}".encode(), f"/other/{kind}-{name}".encode()
            libc.renameat2(-100, ours, -100, theirs, 2)
            libc.renameat2(-100, ours, -100, theirs, 2)
    libc.renameat2(-100, b"/etc", -100, b"/other", 2)
    libc.renameat2(-100, b"/etc", -100, b"/other", 2)
"""
"""Exchanges /etc, and files in it; /etc/hosts itself is a mount point, and stays."""


@pytest.fixture
def configuring(host, secret):
    """A container that exchanges its /etc."""
    script = ETC.replace("MARKER", repr(str(secret)))
    record = host.start("/usr/bin/python3", "-I", "-S", "-c", script, mounts=PYTHON)
    while "swapping" not in host.output(record):
        assert host.session.record(record.id).state.status.alive, host.output(record)
    return record


@pytest.mark.parametrize("capabilities", [(), ("SYS_PTRACE",)], ids=["default", "ptrace"])
def test_users_are_looked_up_in_it(host, secret, capabilities):
    """As for hooks, health checks and `exec`; with SYS_PTRACE before the process is created."""
    script = ETC.replace("MARKER", repr(str(secret)))
    record = host.start("/usr/bin/python3", "-I", "-S", "-c", script, mounts=PYTHON, cap_add=capabilities)
    while "swapping" not in host.output(record):
        assert host.session.record(record.id).state.status.alive, host.output(record)
    for _ in rounds():
        try:
            text = host.exec(record, "cat", "/proc/self/status", user="web").out
            assert re.search(r"^Uid:\t(\d+)", text, re.M)[1] in ("1", "1000")
        except EngineError as error:
            assert "NoneType" not in str(error) and HOSTS not in str(error)


def test_edits_of_its_hosts(host, configuring):
    end = Endpoint(network="n", ipv4_address="192.0.2.7")
    for number, _ in enumerate(rounds()):
        own_files.change_hosts(configuring, [end] if number % 2 else [], [] if number % 2 else [end])


def test_starts_that_mount_secrets_over_it(host, attacker):
    """The fixture checks that nothing is created in the host's folder."""
    volume = next(mount.source for mount in attacker.spec.mounts if mount.type == "volume")
    shared = Mount(type="volume", source=volume, target="/v")
    for target in ("/v/t/d/below/new", "/v/t/f", "/v/t/dlink/new", "/v/t/d/made/new", "/v/t/link"):
        kept = Mount(type="file", content="kept", target=target, uid=7, mode=0o400)
        with contextlib.suppress(EngineError):
            host.run("true", mounts=(shared, kept))


def test_starts_that_use_its_files(host, attacker, secret):
    """Working directories, subpaths and first contents of volumes are looked up while they are exchanged."""
    volume = next(mount.source for mount in attacker.spec.mounts if mount.type == "volume")
    shared = Mount(type="volume", source=volume, target="/v")
    for number, _ in enumerate(rounds()):
        spec = (
            {"working_dir": "/v/t/d/below/new", "mounts": (shared,)},
            {"mounts": (shared, Mount(type="tmpfs", target="/v/t/d/below"))},
            {"mounts": (Mount(type="volume", source=volume, target="/x", subpath="t/d"),)},
        )[number % 3]
        try:
            found = host.run("sh", "-c", "pwd; ls -A / /x", **spec)
        except EngineError:
            continue
        assert "marker" not in found.out
        with contextlib.suppress(EngineError):
            found = host.exec(
                attacker, "/usr/bin/python3", "-c", "import os; print(os.getcwd())", working_dir="/t/d/below"
            )
            assert str(secret.parent) not in found.out
