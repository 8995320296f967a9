"""The test session runs in its own network and mount namespaces, and a test that leaves anything behind fails."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile

import hypothesis
import pytest

# the duration of an example means nothing on a busy machine
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
NETWORK = pytest.StashKey[int]()
"""Inode of the test session's network namespace."""


def pytest_configure(config):
    """Leave the machine's network and mounts alone: our namespaces have only a loopback interface and private
    mounts."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        # As for a background job of a script, or under nohup. Commands that tests interrupt would ignore it, too
        # (execve(2)); signals with a handler are reset for them.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    if os.geteuid() == 0 and (hasattr(config, "workerinput") or not os.environ.get("PYTEST_XDIST_TESTRUNUID")):
        _go_apart()
    config.stash[NETWORK] = os.stat("/proc/thread-self/ns/net").st_ino


def _go_apart():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "cannot make namespaces for the tests")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """No test leaves this thread in another network namespace: threads of other fixtures would remain in the previous
    one."""
    result = yield
    if os.stat("/proc/thread-self/ns/net").st_ino != item.config.stash[NETWORK]:
        pytest.fail("a fixture that outlives its test has changed the network namespace")
    return result


ROOT = (
    "registry", "security", "rootless", "image/layer/test_pack.py", "image/layer/test_unpack.py", "image/test_archive.py",
    "image/test_images.py", "image/test_merged.py",
)  # fmt: skip
"""Tests that create what only root can: containers, users, layers with owners, network namespaces."""


def pytest_collection_modifyitems(items):
    """An ordinary user runs only the tests that need no root."""
    if os.geteuid() != 0:
        for item in items:
            place = item.path.relative_to(os.path.dirname(__file__))
            asked = {"composer", "registry", "roots"} & set(item.fixturenames) or item.get_closest_marker("root")
            if asked or any(place.is_relative_to(one) for one in ROOT):
                item.add_marker(pytest.mark.skip(reason="containers need root"))


@pytest.fixture(scope="session")
def busybox_rootfs():
    """busybox-static and its applets' links, as the bytes of a tar archive."""
    import io
    import tarfile

    binary = shutil.which("busybox")
    applets = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "var"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        tar.add(binary, "bin/busybox")
        for name in applets:
            if name != "busybox":
                entry = tarfile.TarInfo(f"bin/{name}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
        for name, text in {
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n",
            "etc/group": b"root:x:0:\nweb:x:1000:\n",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
    return out.getvalue()


@pytest.fixture(scope="session")
def roots(busybox_rootfs):
    """A state root with the image `busybox`, and a run root. Short paths: a socket's has at most 107 bytes."""
    import io

    from engine.image.images import ImageStore
    from engine.image.importing import import_rootfs
    from engine.paths import Roots
    from engine.spec.image import ImageConfig
    from engine.store import Store

    with tempfile.TemporaryDirectory(prefix="ct-") as folder:
        roots = Roots(f"{folder}/s", f"{folder}/r")
        store = Store(roots)
        config = ImageConfig(environment=("PATH=/bin",), command=("sh",))
        import_rootfs(ImageStore(store), io.BytesIO(busybox_rootfs), tags=["busybox"], config=config)
        store.close()
        yield roots


@pytest.fixture(scope="session")
def session_box(roots):
    from tests.scenario.leaks import nothing_left
    from tests.session.box import Box

    with nothing_left(roots):
        box = Box(roots)
        yield box
        box.close()


@pytest.fixture
def box(session_box):
    """An engine session to create containers in; they are removed after the test."""
    yield session_box
    session_box.remove_all()
    assert not session_box.left()


@pytest.fixture
def composer(roots, tmp_path, request):
    """The command line in a copy of the test's folder; afterwards the project is brought down, and nothing may be
    left."""
    from tests.scenario.command import Composer
    from tests.scenario.leaks import nothing_left

    with nothing_left(roots):
        command = Composer(tmp_path, roots, request.path.parent)
        yield command
        command.end()


@pytest.fixture
def few_descriptors():
    """A limit that a walk with one descriptor for each level exceeds."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture
def registry(tmp_path):
    """The distribution project's registry on the loopback interface, with the image `busybox`; returns host:port."""
    import socket
    import time

    (tmp_path / "registry").mkdir()
    config = tmp_path / "registry" / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry/data}}}}\n"
        "http: {addr: '127.0.0.1:5000'}\n"
    )
    with subprocess.Popen(["docker-registry", "serve", config], stderr=subprocess.DEVNULL) as process:
        while True:
            try:
                socket.create_connection(("127.0.0.1", 5000)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, "the registry ended"
                time.sleep(0.02)
        yield "localhost:5000"
        process.kill()
