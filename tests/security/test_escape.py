"""Known ways to escape from a container, each really tried. A file of the host, the marker, must not be visible
inside."""

import json
import os
import socket
import stat
import struct
import sys
import threading
from pathlib import Path

import pytest

from engine.errors import EngineError, StartFailed
from engine.spec.container import Mount
from tests.security.host import PYTHON, Result

ROUNDS = 12
"""The number of attempts at each race. The attacker's side runs all the time."""


@pytest.fixture
def marker(tmp_path):
    """A file of the host, and its content."""
    path = tmp_path / "marker"
    path.write_text("of the host")
    return str(path)


# ── descriptors, working directories ─────────────────────────────────────────────────────────────────────────────────


def test_working_directory_by_descriptor(host, marker):
    """CVE-2024-21626: /proc/self/fd/<n> as the working directory, for a host descriptor that we might have open."""
    record = host.sleep()
    up = "../" * 12 + marker.lstrip("/")
    for number in range(3, 14):
        place = f"/proc/self/fd/{number}"
        with pytest.raises(EngineError, match="working directory"):
            host.run("cat", up, working_dir=place)
        with pytest.raises(EngineError, match="working directory"):
            host.exec(record, "cat", up, working_dir=place)


def test_working_directory_by_a_link(host, marker):
    record = host.sleep()
    assert host.exec(record, "ln", "-s", "/proc/self/fd/8/..", "/way").code == 0
    with pytest.raises(EngineError, match="working directory"):
        host.exec(record, "cat", marker, working_dir="/way")


WATCH = """
import json, os, sys
marker, interpreter = sys.argv[1], tuple(json.loads(sys.argv[2]))
print("watching", flush=True)
known, found = {str(os.getpid()), "1"}, set()
held = []
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid in known:
            continue
        for way in ("root" + marker, "cwd" + marker, "cwd/" + "../" * 12 + marker[1:]):
            try:
                open(f"/proc/{pid}/{way}").close()
                found.add("the host's files by " + way.partition("/")[0])
            except OSError:
                pass
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if "/groups/" in target or target.endswith((".sock", ".log")) or "/run" in target:
                    found.add("a descriptor of " + target)
        except OSError:
            pass
        try:
            fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) == interpreter and len(held) < 50:
                held.append(fd)
            else:
                os.close(fd)
        except OSError:
            pass
    for fd in held:
        if not os.fstatvfs(fd).f_flag & os.ST_RDONLY:
            found.add("the interpreter on a mount that can be written to")
        try:
            os.close(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY))
            found.add("the interpreter for writing")
        except OSError:
            pass
print(json.dumps(sorted(found)), flush=True)
"""


@pytest.mark.parametrize("capabilities", [(), ("SYS_PTRACE",)], ids=["default", "ptrace"])
def test_inspecting_an_entering_process(host, marker, capabilities):
    """CVE-2019-5736 and CVE-2016-9962: the process that is about to execute a program inside is inspected just
    before."""
    status = os.stat(os.path.realpath(sys.executable))
    arguments = (marker, json.dumps([status.st_dev, status.st_ino]))
    watcher = host.start(
        *("/usr/bin/python3", "-I", "-S", "-c", WATCH, *arguments), mounts=PYTHON, cap_add=capabilities
    )
    for _ in range(ROUNDS):
        assert host.exec(watcher, "/bin/true").code == 0
    host.exec(watcher, "touch", "/tmp/stop")
    host.end_of(watcher)
    assert host.output(watcher).splitlines()[-1] == "[]"


SEIZE = """
import ctypes, json, os
libc = ctypes.CDLL(None)

def status(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.split(":\\t", 1) for line in file.read().splitlines() if ":\\t" in line)

own = status("self")
print("watching", flush=True)
known, seen, found = {str(os.getpid()), "1"}, 0, set()
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid in known or libc.ptrace(0x4206, int(pid), 0, 0):  # PTRACE_SEIZE
            continue
        known.add(pid)
        libc.ptrace(0x4207, int(pid), 0, 0)  # PTRACE_INTERRUPT
        try:
            os.waitpid(int(pid), 0x40000000)  # __WALL
            theirs = status(pid)
            seen += 1
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                if int(theirs[name], 16) & ~int(own[name], 16):
                    found.add(f"{name} {theirs[name]} of {theirs['Name']}")
            if theirs["Seccomp"] != own["Seccomp"]:
                found.add(f"no filter of {theirs['Name']}")
            libc.ptrace(17, int(pid), 0, 0)  # PTRACE_DETACH
        except OSError:
            pass
print(json.dumps([seen > 0, sorted(found)]), flush=True)
"""


@pytest.mark.parametrize("user", ["", "1000"])
def test_tracing_an_entering_process(host, user):
    """With SYS_PTRACE a process can be stopped just before it executes the program: it then has no more privileges."""
    words = ("/usr/bin/python3", "-I", "-S", "-c", SEIZE)
    watcher = host.start(*words, mounts=PYTHON, cap_add=("SYS_PTRACE",))
    while "watching" not in host.output(watcher):
        pass
    for _ in range(4 * ROUNDS):
        assert host.exec(watcher, "/bin/true", user=user).code == 0
    host.exec(watcher, "touch", "/tmp/stop")
    host.end_of(watcher)
    assert json.loads(host.output(watcher).splitlines()[-1]) == [True, []]


SEE = """
import ctypes, json, os, signal
libc = ctypes.CDLL(None)
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
print("watching", flush=True)
seen, found = set(), set()
while not stop:
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                if file.read().rstrip("\\0") != "composer-start":
                    continue
            with open(f"/proc/{pid}/stat") as file:
                if int(file.read().rpartition(") ")[2].split()[1]) != os.getppid():  # of another keeper on this machine
                    continue
        except OSError:
            continue
        seen.add(pid)
        for name in ("maps", "environ", "syscall", "root/etc/passwd", "exe", "fd/0", "fd/3", "fd/4"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:  # of who has just ended some are empty
                    if file.read(1):
                        found.add(name)
            except OSError:
                pass
        for name in ("mem", "clear_refs"):
            try:
                os.close(os.open(f"/proc/{pid}/{name}", os.O_WRONLY))
                os.stat(f"/proc/{pid}/exe")
                found.add(name)
            except OSError:
                pass
        if libc.ptrace(16, int(pid), 0, 0) == 0:
            found.add("ptrace")
print(json.dumps([bool(seen), sorted(found)]), flush=True)
"""


def test_inspecting_a_starting_process(host):
    """A container that sees the host's processes also sees those that carry out scripts, with the host's root directory
    and privileges."""
    watcher = host.start("/usr/bin/python3", "-I", "-S", "-c", SEE, mounts=PYTHON, pid_mode="host")
    while "watching" not in host.output(watcher):
        pass
    for _ in range(4 * ROUNDS):
        # The program has one capability more than the observer, which otherwise could rightly inspect it.
        host.run("true", network_mode="none", cap_add=("NET_ADMIN",))
    # A program in the observer's own container would have no more capabilities, and could be inspected.
    host.wait(host.session.stop(watcher.id, timeout=60))
    host.end_of(watcher)
    assert json.loads(host.output(watcher).splitlines()[-1]) == [True, []]


def test_runtime_is_not_replaced(host):
    """CVE-2019-5736 itself: the container's program is a link to whatever executes it."""
    record = host.sleep()
    assert host.exec(record, "ln", "-s", "/proc/self/exe", "/tmp/sh").code == 0
    # The runtime's own binary is gone by the time /proc/self/exe is followed, or cannot be executed at all.
    try:
        found = host.exec(record, "/tmp/sh", "-c", "import os; print('the keeper')")
    except EngineError:
        return
    assert "the keeper" not in found.out


def test_executing_composers_own_programs_fails_clearly(host):
    """Where /proc leads to a program of ours, executing it fails with a clear error and the exit code of a missing
    program."""
    for command in (("/proc/self/exe",), ("/proc/1/exe", "5")):
        record = host.start(*command, init=False)
        assert host.end_of(record).exit_code == 127
        assert host.output(record) == "exec /proc/self/exe: this is no program of the image\n"
    found = host.exec(host.start("sleep", "1000", init=True), "/proc/1/exe")
    assert found == Result(127, "exec /proc/1/exe: this is no program of the image\n")


# ── mounts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

SWAP = """
import ctypes, os
libc = ctypes.CDLL(None)
os.chdir("/v")
os.makedirs("real/inner", exist_ok=True)
os.symlink("LINK", "link")
os.rename("real", "sub")
print("swapping", flush=True)
while True:
    libc.renameat2(-100, b"sub", -100, b"link", 2)
"""


@pytest.fixture
def swapped(host):
    """A volume in which a container constantly exchanges the directory `sub` and a link to the host's path."""

    def start(link):
        volume = host.volume()
        mounts = (*PYTHON, Mount(type="volume", source=volume, target="/v"))
        script = SWAP.replace("LINK", link)
        attacker = host.start("/usr/bin/python3", "-I", "-S", "-c", script, mounts=mounts)
        threading.Event().wait(0)
        while "swapping" not in host.output(attacker):
            pass
        return volume

    return start


def test_subpath_that_is_swapped(host, marker, swapped):
    """CVE-2021-30465 and its class: the subpath of a volume becomes a link to the host's root while it is mounted."""
    volume = swapped(os.path.dirname(marker))
    for _ in range(ROUNDS):
        mount = Mount(type="volume", source=volume, target="/x", subpath="sub")
        try:
            found = host.run("ls", "-A", "/x", mounts=(mount,))
        except EngineError:
            continue  # it was a link at that time, and was refused
        assert "marker" not in found.out


def test_target_that_is_swapped(host, marker, swapped):
    """CVE-2021-30465: a mount below a volume whose directory becomes a link must not land on the host's path."""
    folder = os.path.dirname(marker)
    volume = swapped(folder)
    below = Mount(type="tmpfs", target="/v/sub/made")
    for _ in range(ROUNDS):
        try:
            found = host.run("cat", marker, mounts=(Mount(type="volume", source=volume, target="/v"), below))
        except EngineError:
            continue
        assert "of the host" not in found.out
    assert os.listdir(folder) == ["marker"]
    with open("/proc/self/mountinfo") as file:
        assert folder not in file.read()


def test_null_is_verified(host):
    """CVE-2025-31133: with a volume at /dev, /dev/null is a link, and masking would uncover instead of hide."""
    volume = host.volume()
    data = f"{host.roots.volumes}/{volume}/_data"
    os.symlink("/proc/sys/kernel/core_pattern", f"{data}/null")
    with pytest.raises(StartFailed, match="not the null device"):
        host.run("cat", "/proc/keys", mounts=(Mount(type="volume", source=volume, target="/dev"),))


def test_console_that_is_a_link(host):
    """CVE-2025-52565: /dev/console as a link, so that the terminal is mounted over what protects /proc."""
    volume = host.volume()
    data = f"{host.roots.volumes}/{volume}/_data"
    os.symlink("/proc/sys/kernel/core_pattern", f"{data}/console")
    mount = Mount(type="volume", source=volume, target="/dev")
    with pytest.raises(StartFailed):
        host.run("true", tty=True, mounts=(mount,))


def test_images_whose_system_folders_are_links(host, marker, made_image):
    """CVE-2019-19921: the image's /proc is a link to a folder, so that nothing below /proc would be masked."""
    for name in ("proc", "sys"):
        image = made_image({name: "-> tmp/elsewhere", "tmp/elsewhere/": ""})
        with pytest.raises(EngineError, match=f"/{name}"):
            host.run("cat", "/proc/keys", image=image)


def test_images_whose_mount_points_are_links(host, marker, made_image):
    """What the engine creates and mounts in a root stays inside: /etc/hosts, /dev, a volume's target."""
    folder = os.path.dirname(marker)
    image = made_image(
        {"etc/hosts": f"-> {marker}", "dev": f"-> {folder}/dev", f"{folder[1:]}/dev/": "", "data": f"-> {folder}"}
    )
    mounts = (Mount(type="volume", source=host.volume(), target="/data/deep"), Mount(type="tmpfs", target="/data/t"))
    found = host.run("cat", marker, image=image, mounts=mounts)
    assert "of the host" not in found.out
    assert os.listdir(folder) == ["marker"]
    with open(marker) as file:
        assert file.read() == "of the host"


@pytest.mark.parametrize("target", ["-> /dev/zero", "fifo", "-> /proc/kmsg", "-> /etc/passwd"])
def test_endless_user_files(host, made_image, target):
    image = made_image({"etc/passwd": target})
    with pytest.raises(EngineError, match="/etc/passwd"):
        host.run("true", image=image, user="web")


# ── the machine's side ───────────────────────────────────────────────────────────────────────────────────────────────


def as_another_user(work):
    """Run `work` in a child as an ordinary user; returns its result."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(())
            os.setresgid(1000, 1000, 1000)
            os.setresuid(1000, 1000, 1000)
            os.write(writing, json.dumps(work()).encode())
        except BaseException as error:
            os.write(writing, json.dumps(repr(error)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with open(reading, "rb") as file:
        return json.loads(file.read())


def test_setuid_files_are_out_of_reach(host):
    """CVE-2021-41091: a container's setuid programs, in its layer or a volume, must not serve users of the host."""
    volume = host.volume()
    record = host.sleep(mounts=(Mount(type="volume", source=volume, target="/v"),))
    assert (
        host.exec(record, "sh", "-c", "for d in / /v/; do cp /bin/busybox $d/evil; chmod 4755 $d/evil; done").code == 0
    )
    places = [
        f"{host.roots.container(host.group, record.id)}/upper/evil",
        f"{host.roots.volumes}/{volume}/_data/evil",
        next(str(path) for path in Path(host.roots.layers).glob("*/diff/bin/busybox")),
        f"/proc/{record.state.pid}/root/evil",
    ]
    for place in places:
        assert os.stat(place).st_mode & stat.S_IXOTH
    os.chmod(os.path.dirname(host.roots.state), 0o755)  # the test's own folder is closed too
    assert as_another_user(lambda: [place for place in places if os.access(place, os.F_OK)]) == []


def test_control_sockets_are_private(host):
    host.sleep()
    path = host.roots.keeper_socket(host.group)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert as_another_user(lambda: ask(path)).startswith("PermissionError")
    # A client that gets past the modes is identified by SO_PEERCRED.
    place = path
    while len(place) > 1:
        os.chmod(place, 0o777)
        place = os.path.dirname(place)
        if os.path.basename(place).startswith("ct-"):
            os.chmod(place, 0o755)
            break
    assert as_another_user(lambda: ask(path)) in ("refused", "ConnectionResetError(104, 'Connection reset by peer')")
    assert "containers" in ask(path)


def ask(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        request = json.dumps({"n": 1, "do": "list"}).encode()
        try:
            sock.sendall(struct.pack(">I", len(request)) + request)
            return sock.recv(4096)[4:].decode() or "refused"
        except BrokenPipeError:
            return "refused"


def test_no_abstract_sockets(host):
    """Such sockets belong to a network namespace, not to a folder: a container on the host's network could connect."""
    host.sleep()
    with open("/proc/net/unix") as file:
        assert not [line for line in file if "@" in line and ("composer" in line or host.roots.run in line)]


def test_copying_while_a_link_is_swapped(host, marker, swapped):
    """CVE-2018-15664: a container's path becomes a link to the host's while it is copied."""
    volume = swapped(os.path.dirname(marker))
    other = host.sleep(mounts=(Mount(type="volume", source=volume, target="/v"),))
    for _ in range(ROUNDS):
        out = os.memfd_create("tar")
        try:
            host.engine.copy_out(host.group, other.id, "/v/sub/.", out)
        except EngineError:
            continue
        finally:
            assert b"of the host" not in os.pread(out, 1 << 20, 0)
            os.close(out)


def test_networks_are_isolated(host):
    """Without a network in common, neither loopback nor the host's sockets can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert host.shell(f"wget -T 2 -qO- http://127.0.0.1:{port}/").code != 0


def test_frames_and_raw_packets(host):
    """CAP_NET_RAW is Docker's default; CAP_NET_ADMIN is not, and without it the host's links are out of reach."""
    assert host.shell("ip link set lo mtu 1000").code != 0
    assert host.shell("ip link add x type dummy").code != 0
