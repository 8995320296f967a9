"""Scripts under attack and faults: hostile images, killed processes, lack of descriptors and memory."""

import fcntl
import gc
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import weakref

import pytest

from engine import control
from engine.errors import StartFailed
from engine.keeper.keeper import Keeper
from engine.keeper.protocol import Channel
from engine.keeper.requests import handle
from engine.keeper.script.recording import Recording
from engine.keeper.script.script import Script
from engine.session.start import _write_bundle
from engine.spec.container import Mount
from tests.container.test_script import scripted
from tests.session.box import PATIENCE


def changed(rootfs, files):
    """A root file system with other files: path → text, "-> target" for a symbolic link, None for none."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(rootfs)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            if member.name not in files and not any(member.name.startswith(f"{name}/") for name in files):
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for path, text in files.items():
            if text is None:
                continue
            entry = tarfile.TarInfo(path)
            if text.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, text.removeprefix("-> ")
            else:
                entry.size = len(text.encode())
            new.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def keeper(box):
    with control.connect(box.roots.keeper_socket(box.group)) as sock:
        return control.peer(sock)[0]


def descriptors(pid):
    return sorted(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))


# ── hostile images ───────────────────────────────────────────────────────────────────────────────────────────────────

SIOCGSKNS = 0x894C

NUMBERS = ["4294967295", "4294967296", "9" * 20, "9" * 5000, "²", "٣"]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: ascii(text[:12]))
def test_invalid_ids(box, images, busybox_rootfs, number):
    """They name no user: they must neither overflow to root's id, nor crash the keeper or leave a request
    unanswered."""
    files = {"etc/passwd": f"web:x:{number}:{number}::/:/bin/sh\n", "etc/group": f"staff:x:{number}:\n"}
    image = images(rootfs=changed(busybox_rootfs, files))
    for fields in ({"user": "web"}, {"group_add": ("staff",)}, {"user": number}):
        said = []
        for score in (0, 1):
            with pytest.raises(StartFailed) as raised:
                box.start(image=image, network_mode="none", oom_score_adj=score, **fields)
            said.append((raised.value.exit_code, str(raised.value)))
        assert said[0] == said[1] and "no matching entry" in said[0][1]


def test_a_device_for_a_file_of_names_is_not_opened(box):
    """A container can create any device but open few; the keeper, which reads the file at a restart, could open all of
    them."""
    record = box.start(network_mode="none")
    assert scripted(record, box)
    box.inside(record, "rm /etc/passwd; mknod /etc/passwd c 240 7")
    box.do(box.session.stop(record.id))
    with pytest.raises(StartFailed, match="read /etc/passwd: it is not a regular file"):
        box.do(box.session.start(record.id))


@pytest.mark.parametrize(
    "files",
    [
        {"etc": None},
        {"etc": "-> usr/etc"},
        {"proc": "-> etc"},
        {"dev": "-> tmp"},
        {"sys": "-> /nowhere"},
        {"etc/hosts": "-> /proc/1/root/etc/hosts"},
        {"etc/hosts": "-> hosts"},
        {"etc/passwd": "-> /proc/self/root/etc/shadow"},
    ],
    ids=str,
)
def test_odd_images(box, images, busybox_rootfs, files):
    """Whatever an image puts at the targets of mounts and at names, both ways give the same result."""
    image = images(rootfs=changed(busybox_rootfs, files))
    found = []
    for score in (0, 1):
        try:
            found.append(box.shell("id -u; ls -ld /etc/ /proc/ /dev/ /sys/ | cut -c1-10; cut -d' ' -f2- /etc/hostname | wc -l;"
                                   "sed 's/.* - //' /proc/self/mountinfo | cut -d' ' -f1 | sort",
                                   image=image, network_mode="none", oom_score_adj=score))  # fmt: skip
        except StartFailed as error:
            found.append(str(error))
    assert found[0] == found[1]


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_more_than_a_script_holds(box):
    """Mounts, deep folders and files: a fork starts what does not fit."""
    mounts = (
        *(Mount(type="tmpfs", target=f"/many/{number}/deep/er") for number in range(100)),
        Mount(type="file", target="/large", content="x" * 1_000_000),
    )
    record = box.start(network_mode="none", mounts=mounts)
    assert box.inside(record, "grep -c /deep/er /proc/self/mountinfo; stat -c %s /large").split() == ["100", "1000000"]


def test_odd_words(box):
    """Invalid UTF-8, quotes and line ends stay unchanged; long paths and names."""
    deep = "/" + "/".join(["x" * 200] * 15)
    words = ("sh", "-c", 'printf %s "$1$A" | od -An -tx1; pwd | wc -c', "sh", "ä\n'\"\\\u2028\U0001f600")
    wanted = []
    for score in (0, 1):
        wanted.append(
            box.output(*words, environment={"A": "=\n"}, working_dir=deep, network_mode="none", oom_score_adj=score)
        )
    assert wanted[0] == wanted[1] and wanted[0].endswith(str(len(deep) + 1))


def bundle_of(box, record):
    """The path of the bundle with which the session would start the container."""
    group = box.session._group
    return _write_bundle(group, record, group.image(record.spec.image), [])


# ── killed, and faults of the keeper ─────────────────────────────────────────────────────────────────────────────────


def test_container_killed_during_creation_is_not_created_again(box, images, busybox_rootfs):
    """A script that fails is followed by a fork, unless the container is no longer wanted."""
    image = images(rootfs=changed(busybox_rootfs, {"etc/resolv.conf": "-> ../run/stub/resolv.conf"}))
    box.start(network_mode="none")  # starts a keeper
    record = box.create("sleep", "1000", image=image, network_mode="none")
    bundle = bundle_of(box, record)
    with control.connect(box.roots.keeper_socket(box.group)) as sock:
        channel = Channel(sock)
        channel.send({"n": 1, "do": "create", "id": record.id, "bundle": bundle})
        channel.send({"n": 2, "do": "signal", "id": record.id, "signal": 9})
        answers = {message["re"]: message for message, _ in (channel.receive(), channel.receive())}
        assert answers[1]["pid"] and "error" not in answers[2]
        deadline = time.monotonic() + PATIENCE
        listed = [record.id]
        while record.id in listed:
            assert time.monotonic() < deadline, "it lives"
            channel.send({"n": 3, "do": "list"})
            listed = [entry["id"] for entry in channel.receive()[0]["containers"]]


@pytest.mark.parametrize("many", [1, 100])
def test_sockets_are_those_of_the_process_that_stays(box, many):
    """Nor those of a container that had opened its own before the mounts turned out not to fit into the script."""
    box.start(network_mode="none")
    pid = keeper(box)
    mounts = tuple(Mount(type="tmpfs", target=f"/many/{number}/deep/er") for number in range(many))
    record = box.create("sleep", "1000", network_mode="none", mounts=mounts)
    path = bundle_of(box, record)
    with open(path) as file:
        bundle = json.load(file) | {"dns": 0}
    with open(path, "w") as file:
        json.dump(bundle, file)
    before = len(descriptors(pid))
    with control.connect(box.roots.keeper_socket(box.group)) as sock:
        channel = Channel(sock)
        channel.send({"n": 1, "do": "create", "id": record.id, "bundle": path})
        channel.send({"n": 2, "do": "sockets", "id": record.id})
        found = {}
        for message, files in (channel.receive(), channel.receive()):
            found[message["re"]] = message, files
        process = found[1][0]["pid"]
        wanted = os.stat(f"/proc/{process}/ns/net").st_ino
        for fd in found[2][1]:
            namespace = fcntl.ioctl(fd, SIOCGSKNS)
            assert os.fstat(namespace).st_ino == wanted
            os.close(namespace)
            os.close(fd)
        assert len(found[2][1]) == 2
        channel.send({"n": 3, "do": "start", "id": record.id})
        assert channel.receive()[0]["pid"] == process
        assert len(descriptors(pid)) == before + 7  # log, two FIFOs, pidfd, two sockets; us
        channel.send({"n": 4, "do": "signal", "id": record.id, "signal": 9})
        channel.receive()


@pytest.mark.parametrize("score", [0, 1])
def test_namespaces_are_there_when_the_pid_is_known(box, score):
    """However it is created: the network is connected by the pid."""
    box.start(network_mode="none")
    record = box.create("sleep", "1000", network_mode="none", oom_score_adj=score)
    bundle = bundle_of(box, record)
    own = os.readlink("/proc/self/ns/net")
    for _ in range(10):
        with control.connect(box.roots.keeper_socket(box.group)) as sock:
            channel = Channel(sock)
            channel.send({"n": 1, "do": "create", "id": record.id, "bundle": bundle})
            pid = channel.receive()[0]["pid"]
            assert os.readlink(f"/proc/{pid}/ns/net") != own
            os.kill(pid, 9)
            while record.id in [entry["id"] for entry in listed(channel)]:
                pass


def listed(channel):
    channel.send({"n": 2, "do": "list"})
    return channel.receive()[0]["containers"]


def test_a_start_before_it_is_made_is_refused(box):
    box.start(network_mode="none")
    record = box.create("sleep", "1000", network_mode="none")
    bundle = bundle_of(box, record)
    with control.connect(box.roots.keeper_socket(box.group)) as sock:
        channel = Channel(sock)
        channel.send({"n": 1, "do": "create", "id": record.id, "bundle": bundle})
        channel.send({"n": 2, "do": "start", "id": record.id})
        answers = {message["re"]: message for message, _ in (channel.receive(), channel.receive())}
        assert "still being created" in answers[2]["error"]
        assert answers[1]["pid"]
        channel.send({"n": 3, "do": "start", "id": record.id})
        assert channel.receive()[0]["pid"] == answers[1]["pid"]


def test_keeper_holds_no_descriptors_of_started_containers(box, images, busybox_rootfs):
    """Neither descriptors nor memory leak, from scripts that ran, that failed, or that a fork followed."""
    image = images(rootfs=changed(busybox_rootfs, {"etc/resolv.conf": "-> ../run/stub/resolv.conf"}))

    def round_of_starts():
        box.run("true", network_mode="none")
        box.run("true", network_mode="none", image=image)
        for fields in ({"working_dir": "/etc/passwd"}, {"user": "nobody-here"}):
            record = box.create("true", network_mode="none", **fields)
            with pytest.raises(StartFailed):
                box.do(box.session.start(record.id))
            box.do(box.session.remove(record.id))

    running = box.start(network_mode="none")
    pid = keeper(box)
    round_of_starts()
    before = descriptors(pid)
    assert not [name for name in before if name.startswith("/memfd:script")]
    for _ in range(5):
        round_of_starts()
    assert len(descriptors(pid)) == len(before)
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        assert file.read().split() == [str(box.state(running).pid)]
    with open(f"/proc/{pid}/maps") as file:
        assert "script" not in file.read()


def test_ended_container_releases_memory(tmp_path):
    """It does not wait for the garbage collector, which runs once in a thousand containers."""
    path = tmp_path / "bundle.json"
    path.write_text(
        json.dumps({"log": {"format": ""}, "run_folder": str(tmp_path), "process": {"tty": False, "stdin": False}})
    )
    found = Keeper(str(tmp_path / "sock"), handle).containers.open("x", str(path))
    ended = weakref.ref(found)
    gc.disable()
    try:
        found.close()
        del found
        assert ended() is None
    finally:
        gc.enable()


def test_closed_script_holds_no_descriptors():
    script, recording = Script(), Recording()
    recording.pause(4)
    recording.demand(recording.answer, 1, 1, refused=lambda _: Exception())
    script.publish(recording)
    del recording
    ended = weakref.ref(script)
    gc.disable()
    try:
        script.close()
        del script
        assert ended() is None
    finally:
        gc.enable()


SPAWN = """
import os, socket, sys
place = int(sys.argv[1])
while os.open("/dev/null", os.O_RDWR) < 10:
    pass
from engine.kernel.sealed_memory import sealed
from engine.kernel.spawn import Spawner
from engine.keeper.script.run_program import PROGRAMS
from engine.keeper.script.recording import Recording
from engine.keeper.script.script import CHANNEL, Script
os.dup2(sealed("composer-start", PROGRAMS), place)
spawner = Spawner(place, "composer-start")
script, recording = Script(), Recording()
recording.call("write", 1, b"told", 4)
recording.pause(CHANNEL)
script.publish(recording)
ours, theirs = socket.socketpair()
pid, _ = spawner.spawn(0, [0, 1, 2, script.fd, theirs.fileno()])
ours.close(), theirs.close()
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("place", [0, 3, 4, 5])
def test_start_survives_program_at_any_descriptor(place):
    """Even at the numbers where the process expects its script and its channel."""
    command = [sys.executable, "-c", SPAWN, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert (done.stdout, done.stderr) == ("told", "")


FORBIDDEN = """
import os
from engine.errors import OperationFailed
from engine.keeper.script.run_program import PROGRAMS
from engine.kernel.sealed_memory import sealed
with open("/proc/sys/vm/memfd_noexec", "w") as file:
    file.write("2")
before = os.listdir("/proc/self/fd")
try:
    sealed("composer-start", PROGRAMS)
except OperationFailed as error:
    print(error)
assert os.listdir("/proc/self/fd") == before
"""


@pytest.mark.skipif(not os.path.exists("/proc/sys/vm/memfd_noexec"), reason="Linux 6.3")
@pytest.mark.root
def test_programs_in_memory_may_be_forbidden():
    """This is detected before a process is created in vain."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", FORBIDDEN]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (
        "make the program composer-start: EACCES: vm.memfd_noexec forbids programs in memory\n",
        "",
    )


def test_no_memory_for_a_script_is_an_error(monkeypatch):
    """It may happen at any point; with a mapping, the keeper would have died of SIGBUS."""
    script, recording = Script(), Recording()
    recording.call("setsid")
    monkeypatch.setattr(os, "pwrite", lambda fd, content, place: len(content) // 2)
    with pytest.raises(OSError, match="No space left"):
        script.publish(recording)
    script.close()
