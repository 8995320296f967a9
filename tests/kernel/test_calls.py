"""The raw calls: their effects, and their errors."""

import os
import select
import signal
import subprocess

import pytest

from engine.errors import OperationFailed
from engine.kernel import calls, flags


def test_errors_carry_operation_subject_and_name():
    with pytest.raises(OperationFailed, match="open none: ENOENT: No such file or directory") as raised:
        calls.openat2(flags.AT_FDCWD, "none", os.O_RDONLY, resolve=0)
    assert raised.value.errno == 2 and raised.value.subject == "none"
    with pytest.raises(OperationFailed, match=r"mount /none \(tmpfs none flags ro\|nosuid size=1m\): ENOENT"):
        calls.mount("none", "/none", "tmpfs", flags.MS["ro"] | flags.MS["nosuid"], "size=1m")
    with pytest.raises(OperationFailed, match="unshare"):
        calls.unshare(1)


@pytest.mark.parametrize(
    ("path", "resolve", "found"),
    [
        ("inner/file", flags.RESOLVE_IN_ROOT, "inside"),
        ("/inner/file", flags.RESOLVE_IN_ROOT, "inside"),
        ("absolute", flags.RESOLVE_IN_ROOT, "inside"),
        ("../../inner/file", flags.RESOLVE_IN_ROOT, "inside"),
        ("up/inner/file", flags.RESOLVE_IN_ROOT, "inside"),
        ("absolute", flags.RESOLVE_BENEATH, None),
        ("up/inner/file", flags.RESOLVE_BENEATH, None),
        ("../outside", flags.RESOLVE_BENEATH, None),
        ("link/file", flags.RESOLVE_BENEATH, "inside"),
        ("link/file", flags.RESOLVE_NO_SYMLINKS, None),
    ],
)
def test_paths_stay_inside(tmp_path, path, resolve, found):
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner/file").write_text("inside")
    (tmp_path / "outside").write_text("outside")
    (root / "absolute").symlink_to("/inner/file")
    (root / "up").symlink_to("../../..")
    (root / "link").symlink_to("inner")
    top = os.open(root, flags.O_PATH | os.O_DIRECTORY)
    try:
        if found is None:
            with pytest.raises(OperationFailed):
                calls.openat2(top, path, os.O_RDONLY, resolve=resolve)
            return
        fd = calls.openat2(top, path, os.O_RDONLY, resolve=resolve)
        assert os.read(fd, 100).decode() == found and not os.get_inheritable(fd)
        os.close(fd)
    finally:
        os.close(top)


def test_magic_links_are_never_followed():
    proc = os.open("/proc/self", flags.O_PATH | os.O_DIRECTORY)
    with pytest.raises(OperationFailed, match="ELOOP"):
        calls.openat2(proc, "exe", os.O_RDONLY, resolve=flags.RESOLVE_IN_ROOT)
    os.close(proc)


def test_pidfds_signals_and_start_times():
    process = subprocess.Popen(["sleep", "1000"])
    pidfd = calls.pidfd_open(process.pid)
    assert calls.start_time(process.pid) > 0
    calls.pidfd_send_signal(pidfd, signal.SIGTERM)
    assert select.select([pidfd], [], [], 10)[0]
    assert process.wait() == -signal.SIGTERM
    with pytest.raises(OperationFailed, match="ESRCH"):
        calls.pidfd_send_signal(pidfd, signal.SIGTERM)
    os.close(pidfd)
    assert calls.start_time(process.pid) == 0


def test_start_times_of_processes_with_strange_names(tmp_path):
    program = tmp_path / "a) 1 (b"
    os.symlink("/bin/sleep", program)
    process = subprocess.Popen([program, "1000"])
    try:
        assert calls.start_time(process.pid) >= calls.start_time(os.getpid())
    finally:
        process.kill()
        process.wait()


@pytest.mark.root
def test_a_clone_has_its_own_namespaces():
    ours = os.readlink("/proc/self/ns/uts")
    pid, pidfd = calls.clone(flags.CLONE["uts"])
    if pid == 0:
        os._exit(0 if os.readlink("/proc/self/ns/uts") != ours else 1)
    assert not os.get_inheritable(pidfd)
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_flags_have_names():
    assert flags.names(4097, flags.MS) == "ro|bind"
    assert flags.names(0, flags.MS) == "0"
    assert flags.names(1 | 1 << 62, flags.MS).startswith("ro|0x")


@pytest.mark.root
def test_mount_ids_tell_binds_apart(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    assert calls.mount_id(str(place)) == calls.mount_id(str(tmp_path))
    calls.mount(str(place), str(place), None, flags.MS["bind"])
    try:
        assert calls.mount_id(str(place)) != calls.mount_id(str(tmp_path))
    finally:
        calls.umount(str(place))


def test_file_systems_have_types():
    fd = os.open("/proc", flags.O_PATH)
    assert calls.filesystem_type(fd) == flags.PROC_SUPER_MAGIC
    os.close(fd)
