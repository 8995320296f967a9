"""Every way to start a process, on each of this machine's Pythons since 3.11. A keeper needs no packages."""

import faulthandler
import glob
import os
import shutil
import subprocess
import sys

import pytest

from engine import control
from engine.errors import StartFailed
from engine.keeper import forking
from engine.keeper.child import setup
from engine.spec.container import Resources
from tests.scenario.leaks import nothing_left
from tests.session.box import Box

_ASK = "import sys; print(*sys.version_info[:2], sys.executable)"


def interpreters():
    """Version → path, one of each."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    named = [shutil.which(name) for name in ("python3", "/usr/bin/python3", *(f"python3.{n}" for n in range(11, 20)))]
    for path in [
        *filter(None, named),
        *sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.1[1-9]*/bin/python3"))),
    ]:
        asked = subprocess.run([path, "-I", "-S", "-c", _ASK], capture_output=True, text=True)
        major, minor, path = asked.stdout.split() or ("0", "0", "")  # not a wrapper, which is a script
        if (int(major), int(minor)) >= (3, 11):
            found.setdefault(f"{major}.{minor}", path)
    return found


INTERPRETERS = interpreters()


@pytest.fixture(params=INTERPRETERS)
def box(roots, monkeypatch, request):
    """A session whose keeper runs on that interpreter, and whose log must be empty at the end."""
    monkeypatch.setattr(sys, "executable", INTERPRETERS[request.param])
    with nothing_left(roots):
        box = Box(roots)
        box.version = request.param
        yield box
        with open(f"{os.path.dirname(roots.keeper_socket(box.group))}/keeper.log") as log:
            said = log.read()
        box.close()
        assert said == ""


def keeper_version(box):
    with control.connect(box.roots.keeper_socket(box.group)) as sock:
        maps = open(f"/proc/{control.peer(sock)[0]}/maps").read()
    return box.version if f"python{box.version}" in maps else maps


WAYS = {
    "script": {},
    "fork": {"sysctls": {"kernel.shm_rmid_forced": "1"}},
    "terminal": {"tty": True},
    "init": {"init": True},
    "user": {"user": "web"},
    "user namespace": {"userns_mode": "private"},
    "privileged": {"privileged": True},
}


def test_containers_and_executions(box):
    for way, fields in WAYS.items():
        assert box.run("sh", "-c", "echo alive; exit 3", **fields) == (
            3,
            "alive\r\n" if way == "terminal" else "alive\n",
        ), way
        record = box.start(**fields)
        assert keeper_version(box) == box.version
        for _ in range(2):
            assert box.exec(record, "sh", "-c", "cat; echo oops >&2; exit 4", stdin=b"in") == (4, "in", "oops\n"), way
        with pytest.raises(StartFailed, match="executable file not found") as raised:
            box.exec(record, "nowhere")
        assert raised.value.exit_code == 127
        shared = f"container:{record.id}"
        joined = box.start(network_mode=shared, pid_mode=shared, userns_mode=fields.get("userns_mode", ""))
        assert box.exec(joined, "true")[0] == 0


def test_a_child_that_is_killed_is_reported(box):
    with pytest.raises(StartFailed, match="was killed by SIGKILL before it could run its program"):
        box.start(tty=True, resources=Resources(memory=4096 * 10))


def test_last_error_of_a_child_is_reported(tmp_path):
    """The output of an interpreter with a fatal error."""
    ours, theirs = setup.channel_pair()
    kept = os.dup(2)
    with open(tmp_path / "log", "ab") as log:
        log.write(b"earlier\n")
        log.flush()
        os.dup2(log.fileno(), 2)

    def child(report):
        os.write(2, b"Fatal Python error: something\nPython runtime state: unknown\n")
        faulthandler.disable()  # of pytest's, whose words these are not
        os.abort()

    try:
        with pytest.raises(StartFailed) as raised:
            forking.spawn_via_helper(child, ours, theirs)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        ours.close()
        theirs.close()
    assert str(raised.value) == (
        "the process was killed by SIGABRT before it could run its program: "
        "Fatal Python error: something Python runtime state: unknown"
    )
