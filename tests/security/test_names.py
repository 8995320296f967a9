"""CVE-2019-14271: a host process that has entered a container looks up a name, for which its C library loads the
container's libraries. Here every such library is a FIFO, so that a process that opens one waits, which we detect."""

import asyncio
import errno
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import threading
import time

import pytest

from engine.errors import StartFailed
from engine.spec.container import ExecSpec, Mount

PATIENCE = 30
NAMES = [f"libnss_{service}.so.2" for service in ("evil", "files", "compat", "dns", "systemd")]
MULTIARCH = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
FOLDERS = [f"{top}{below}" for top in ("lib", "lib64", "usr/lib", "usr/lib64") for below in ("", f"/{MULTIARCH}")]


@pytest.fixture
def image(made_image):
    """Has a user named web; a lookup of it by the C library would load our library."""
    services = "".join(
        f"{base}: evil compat files systemd dns\n" for base in ("passwd", "group", "initgroups", "hosts")
    )
    return made_image(
        {
            "usr/": "",
            **{f"{folder}/": "" for folder in FOLDERS},
            **{f"{folder}/{name}": "fifo" for folder in FOLDERS for name in NAMES},
            "etc/nsswitch.conf": services,
        }
    )


def waiting(record):
    """The libraries that a process has opened and waits for; it is released with content that is not a library."""
    found = set()
    for folder in FOLDERS:
        for name in NAMES:
            try:
                fd = os.open(f"/proc/{record.state.pid}/root/{folder}/{name}", os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                assert error.errno == errno.ENXIO, error
                continue
            os.write(fd, b"no library")
            os.close(fd)
            found.add(name)
    return found


def promptly(work, *arguments):
    """Run it in a thread, which is abandoned if it waits for ever."""
    failures = []

    def run():
        try:
            work(*arguments)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), f"{work} waits"
    assert not failures, failures


def named_archive():
    """Its entries have owners by name, as in tar archives."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("put")
        entry.uname = entry.gname = "web"
        entry.uid = entry.gid = 1000
        tar.addfile(entry)
    return out.getvalue()


def copies(host, record):
    read, write = os.pipe()
    os.write(write, named_archive())
    os.close(write)
    host.engine.copy_in(host.group, record.id, "/tmp", read, as_user=False)
    os.close(read)
    target = os.open("/dev/null", os.O_WRONLY)
    for path in ("/tmp/put", "/etc", "/root/."):
        host.engine.copy_out(host.group, record.id, path, target, follow=True)
    os.close(target)


LOOK_UP = """
import ctypes, os, pwd, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(f"/proc/{sys.argv[1]}/ns/mnt", os.O_RDONLY)
assert libc.setns(fd, 0x20000) == 0, os.strerror(ctypes.get_errno())
pwd.getpwnam("web")
"""


def test_the_attack_is_one(host, image):
    """A process that does look up a name there opens our library."""
    record = host.sleep(image=image)
    victim = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", LOOK_UP, str(record.state.pid)], stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := waiting(record)):
            assert victim.poll() is None, victim.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "libnss_evil.so.2" in found
    finally:
        victim.kill()
        victim.wait()
        victim.stderr.close()


@pytest.mark.parametrize("userns", ["", "private"])
def test_no_library_of_a_container_is_loaded(host, image, userns):
    record = host.create("sleep", "1000", image=image, user="web:web", group_add=("web",), userns_mode=userns)
    promptly(copies, host, record)  # of a stopped container
    record = host.wait(asyncio.wait_for(host.session.start(record.id), PATIENCE))
    assert not waiting(record)
    for user in ("web", "web:web", "root", "1000:web"):
        spec = ExecSpec(args=("sh", "-c", "test $(id -u) = $USER_ID"), user=user, environment={"USER_ID": "1000"})
        if user == "root":
            spec = ExecSpec(args=("sh", "-c", "test $(id -u) = 0"), user=user)
        work = host.session.exec(record.id, spec, output=lambda data: None, errors=lambda data: None)
        assert host.wait(asyncio.wait_for(work, PATIENCE)) == 0
        assert not waiting(record), user
    promptly(copies, host, record)
    assert not waiting(record)


@pytest.mark.parametrize("fields", [{}, {"tty": True}, {"userns_mode": "private"}])
def test_names_hidden_by_the_null_device(host, fields):
    """Binding /dev/null over a file is a way to empty it: then there are no names, but no error either."""
    mounts = tuple(
        Mount(type="bind", source="/dev/null", target=path) for path in ("/etc/passwd", "/etc/group", "/new")
    )
    script = "cat /etc/passwd /new; stat -c %F /etc/passwd; id -u"
    seen = host.run("sh", "-c", script, mounts=mounts, **fields).out.replace("\r", "")
    assert seen == "character special file\n0\n"
    with pytest.raises(StartFailed, match="no matching entry"):
        host.start("true", mounts=mounts, user="web", **fields)
