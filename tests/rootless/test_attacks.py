"""Attacks on an ordinary user's containers, from inside them and by another user of the machine."""

import json
import subprocess
import sys

import pytest

from tests.rootless.as_user import UID
from tests.rootless.conftest import HERE
from tests.security import entering, every_way
from tests.security.host import PYTHON

STRANGER = """
import json, os, signal, socket, sys
os.setgroups([]); os.setresgid(*[UID + 1] * 3); os.setresuid(*[UID + 1] * 3)
places, pids = json.loads(sys.argv[1])
reached = []

def attempt(what, action):
    try:
        reached.append(f"{what}: {action()!r}")
    except (OSError, ValueError):
        pass

def connect(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.settimeout(1)
        return sock.recv(1)  # whoever is refused after connecting reads the end

for place in places:
    if place.endswith(".sock"):
        attempt(f"connect to {place}", lambda: connect(place) or bytes(1 / 0))
    attempt(f"open {place}", lambda: os.open(place, os.O_RDONLY))
for pid in pids:
    for name in ("environ", "mem", "maps", "root/etc/passwd", "cwd/.", "fdinfo/0", "fd/0", "exe"):
        attempt(f"read {name} of {pid}", lambda: open(f"/proc/{pid}/{name}", "rb").read(1))
    attempt(f"list descriptors of {pid}", lambda: os.listdir(f"/proc/{pid}/fd"))
    attempt(f"enter {pid}", lambda: os.open(f"/proc/{pid}/ns/user", os.O_RDONLY))
    attempt(f"signal {pid}", lambda: os.kill(pid, 0))
print(json.dumps(reached))
"""


def test_nothing_is_open_to_attacks(user):
    user.write(**every_way.files())
    found = every_way.found(user)
    assert {way for way, lines in found.items() if lines[:7] != every_way.CONFINED} == set(), found
    assert {line: way for way, lines in found.items() for line in lines[7:]} == {}


def test_nothing_is_seen_of_an_entering_process(user):
    user.write(**entering.files())
    assert entering.found(user) == []


def test_other_users_have_no_access(user):
    """Neither the sockets and files of the user, nor the processes of the user's containers and of composer."""
    service = {"image": "busybox", "command": ["sleep", "600"], "init": True, "stop_grace_period": "0s"}
    user.write(compose=json.dumps({"services": {"a": service, "b": {**service, "user": "1000"}}}))
    user("up", "-d")
    places = [str(path) for root in (user.run_root, user.state) for path in root.rglob("*")]
    pids = list(user.processes())
    assert any(place.endswith("keeper.sock") for place in places) and len(pids) > 4
    attack = [sys.executable, "-c", f"UID = {UID}\n{STRANGER}", json.dumps([places, pids])]
    done = subprocess.run(attack, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []


TRACE = """
import ctypes, json, sys
libc = ctypes.CDLL(None)
reached = []
for pid in json.loads(sys.argv[1]):
    for name in ("environ", "mem", "root/etc/passwd", "cwd/.", "fd/0", "exe"):
        try:
            open(f"/proc/{pid}/{name}", "rb").close()
            reached.append(f"{name} of {pid}")
        except OSError:
            pass
    if libc.ptrace(0x4206, pid, 0, 0) == 0:
        reached.append(f"trace {pid}")
print(json.dumps(reached))
"""


@pytest.mark.parametrize("capabilities", [[], ["SYS_PTRACE"]], ids=["default", "ptrace"])
def test_the_users_own_processes_are_not_traced(user, capabilities):
    """From a container that sees them, and without SYS_PTRACE, those of composer neither. The user's own programs may trace
    the container."""
    outside = subprocess.Popen([sys.executable, HERE / "as_user.py", user.home, "sleep", "60"])
    try:
        service = {"image": "busybox", "pid": "host", "cap_add": capabilities, "command": "sleep 600", "init": False}
        mounts = {"volumes": [f"{mount.source}:{mount.target}:ro" for mount in PYTHON], "stop_grace_period": "0s"}
        user.write(compose=json.dumps({"services": {"a": {**service, **mounts}}}))
        user("up", "-d")
        found = user.processes()
        (inside,) = (pid for pid, words in found.items() if words == "sleep 600 ")
        ours = [pid for pid, words in found.items() if "keeper/main.py" in words or "supervise" in words]
        assert len(ours) > 1
        attack = ["/usr/bin/python3", "-I", "-S", "-c", TRACE]
        pids = [outside.pid] if capabilities else [outside.pid, *ours]
        assert json.loads(user("exec", "-T", "a", *attack, json.dumps(pids)).out) == []
        assert f"trace {inside}" in json.loads(user.run(sys.executable, *attack[1:], json.dumps([inside])).out)
    finally:
        outside.kill()
        outside.wait()
