"""What a container has and sees: as much as with Docker's default, and no more."""

import os
import re
import subprocess
import sys

import pytest

from tests.security.host import PYTHON

MASKED_FOLDERS = ("/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/devices/virtual/powercap", "/sys/firmware")
MASKED_FILES = (
    "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list",
    "/proc/timer_stats",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEFAULT = "00000000a80425fb"
"""Docker's default set of capabilities."""
NONE = "0" * 16


def status(host, **spec):
    text = host.run("cat", "/proc/self/status", **spec).out
    return dict(re.findall(r"^(Cap\w+|NoNewPrivs|Seccomp|Groups):\t(.*?) *$", text, re.M))


def test_capabilities(host):
    found = status(host)
    assert [found[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [NONE, *[DEFAULT] * 3, NONE]
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("0", "2")


def test_unprivileged_user_has_no_capabilities(host):
    found = status(host, user="web")
    assert [found[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [NONE, NONE, NONE, DEFAULT, NONE]
    assert found["Groups"] == "1000"


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (("NET_ADMIN",), (), "00000000a80435fb"),
        (("CAP_NET_ADMIN",), ("ALL",), "0000000000001000"),
        ((), ("all",), NONE),
        (("ALL",), ("SYS_ADMIN",), None),
        ((), ("CHOWN", "cap_mknod"), "00000000a00425fa"),
    ],
)
def test_capabilities_added_and_dropped(host, add, drop, expected):
    found = int(status(host, cap_add=add, cap_drop=drop)["CapEff"], 16)
    if expected is None:
        assert not found & 1 << 21 and found & 1 << 12 and found & 1 << 16
    else:
        assert f"{found:016x}" == expected


def test_no_new_privileges(host):
    """With no-new-privileges, a setuid program of the image gains nothing."""
    program = "/tmp/python -I -S -c 'import os; print(os.geteuid())'"
    script = f'cp /usr/bin/python3 /tmp/python; chmod 4755 /tmp/python; exec su web -s /bin/sh -c "{program}"'
    assert host.shell(script, mounts=PYTHON).out == "0\n"
    options = ("no-new-privileges:true",)
    assert host.shell(script, mounts=PYTHON, security_opt=options).out == "1000\n"
    assert status(host, security_opt=options)["NoNewPrivs"] == "1"
    record = host.sleep(security_opt=options)
    assert "NoNewPrivs:\t1" in host.exec(record, "cat", "/proc/self/status").out


def test_masked_paths(host):
    record = host.sleep(cap_add=("SYS_ADMIN",))
    for path in filter(os.path.exists, MASKED_FOLDERS):
        assert host.exec(record, "ls", "-A", path).out == "", path
        assert "Read-only" in host.exec(record, "touch", f"{path}/x").out, path
    for path in filter(os.path.exists, MASKED_FILES):
        assert host.exec(record, "stat", "-c", "%F %t:%T", path).out == "character special file 1:3\n", path


def test_read_only_paths(host):
    record = host.sleep()
    for path in filter(os.path.exists, READ_ONLY):
        options = host.exec(record, "sh", "-c", f"grep ' {path} ' /proc/self/mountinfo | cut -d' ' -f6").out
        assert options.startswith("ro,"), path
    for place in ("/proc/sys/kernel/core_pattern", "/proc/irq/default_smp_affinity"):
        assert "Read-only" in host.exec(record, "sh", "-c", f"echo 1 > {place}").out, place
    assert "Read-only" in host.exec(record, "sh", "-c", "echo 1 > /sys/kernel/uevent_helper").out
    assert "Read-only" in host.exec(record, "mkdir", "/sys/fs/cgroup/x").out


def test_system_paths_open_on_request(host):
    record = host.sleep(security_opt=("systempaths=unconfined",))
    assert "/proc/kcore" not in host.exec(record, "cat", "/proc/self/mountinfo").out
    assert host.exec(record, "sh", "-c", "test -f /proc/interrupts").code == 0


def test_privileged(host):
    found = status(host, privileged=True)
    assert int(found["CapEff"], 16) & 1 << 21
    assert host.shell("mount -t tmpfs tmpfs /tmp && touch /proc/sys/kernel/hostname", privileged=True).code == 0
    assert host.run("test", "-c", "/dev/kmsg", privileged=True).code == (0 if os.path.exists("/dev/kmsg") else 1)


def test_dev(host):
    """Docker's /dev to the letter; /dev/console only with a terminal."""
    names = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    if not os.path.exists("/proc/kcore"):
        names.remove("core")
    assert host.run("ls", "/dev").out.split() == names
    modes = host.shell("stat -c '%n %a %u:%g' /dev /dev/null /dev/shm /dev/pts /dev/pts/ptmx").out.splitlines()
    assert modes == [
        "/dev 755 0:0", "/dev/null 666 0:0", "/dev/shm 1777 0:0", "/dev/pts 755 0:0", "/dev/pts/ptmx 666 0:0",
    ]  # fmt: skip


def comm(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


@pytest.mark.parametrize(
    "way",
    [{}, {"sysctls": {"kernel.shm_rmid_forced": "1"}}, {"userns_mode": "private"}],
    ids=["script", "fork", "userns"],
)
def test_composers_files_do_not_fill_memory(host, way):
    """/etc/hosts is in memory, and the container's root may write to it."""
    script = """
    for name in hosts hostname resolv.conf; do
        dd if=/dev/zero of=/etc/$name bs=1M count=16 2> /dev/null && echo grown
    done
    cat /etc/hosts /etc/hostname /etc/resolv.conf | wc -c
    echo 127.0.0.1 written > /etc/hosts && cat /etc/hosts
    """
    found = host.shell(script, **way).out.splitlines()
    assert found[1:] == ["127.0.0.1 written"]
    assert int(found[0]) < 3 * 5 << 20


def test_no_descriptor_of_composer(host):
    """The keeper has sockets, logs, FIFOs, other containers' … open; a program has only three descriptors
    (CVE-2024-21626)."""
    other = host.sleep()
    script = "for f in /proc/self/fd/*; do readlink $f; done"
    first = host.start("sh", "-c", f"{script}; exec sleep 1000")
    for pid in (first.state.pid, other.state.pid):
        while comm(pid) != "sleep":
            pass  # the shell has the folder open that it lists
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    seen = host.exec(first, "sh", "-c", f"{script}; ls /proc/1/fd").out.split()
    assert seen[-3:] == ["0", "1", "2"]
    assert not [path for path in seen[:-3] if not re.match(r"(pipe|/dev/null|/proc/\d+/fd|\d+$)", path)]


def test_environment_of_composer_is_hidden(host, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    names = {line.partition("=")[0] for line in host.run("env").out.splitlines()}
    assert names == {"PATH", "HOSTNAME", "HOME"}
    with open(f"/proc/{host.sleep().state.pid}/environ") as file:
        assert "SECRET" not in file.read()


def test_namespaces(host):
    first, second = host.sleep(), host.sleep()
    for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
        links = [os.readlink(f"/proc/{pid}/ns/{kind}") for pid in ("self", first.state.pid, second.state.pid)]
        assert len(set(links)) == 3, kind
    assert host.exec(first, "ls", "/proc").out.split()[0] == "1"
    assert set(host.exec(first, "ls", "/sys/class/net").out.split()) == {"lo"}


@pytest.mark.parametrize("init", [False, True])
def test_no_network_but_loopback(host, init):
    """With `network_mode: none` a program still reaches what listens in its own container."""
    found = host.run("ping", "-c", "1", "-W", "5", "127.0.0.1", network_mode="none", init=init)
    assert found.code == 0, found.out


def test_queues_of_the_host(host):
    assert "- mqueue" in host.shell("grep ' /dev/mqueue ' /proc/self/mountinfo", ipc_mode="host").out


def test_nothing_of_the_host_is_mounted(host):
    """No path of the host's tree remains after the change of the root."""
    table = host.run("cat", "/proc/self/mountinfo").out.splitlines()
    places = [line.split()[4] for line in table]
    assert [place for place in places if not place.startswith(("/proc", "/dev", "/sys", "/etc/"))] == ["/"]
    assert not [line for line in table if re.search(r" (shared|master):", line)]


def test_the_host_sees_none_of_its_mounts(host):
    host.sleep()
    with open("/proc/self/mountinfo") as file:
        assert host.group not in file.read()


def test_session_keyring(host):
    """Containers cannot use the keys of the user who started us: each has its own session keyring."""
    ask = "import ctypes; print(ctypes.CDLL(None).syscall(250, 0, -3, 0))"
    command = ("/usr/bin/python3", "-I", "-S", "-c", ask)
    options = {"security_opt": ("seccomp=unconfined",), "mounts": PYTHON}
    first, second = host.sleep(**options), host.sleep(**options)
    found = [host.exec(record, *command).out for record in (first, first, second)]
    ours = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert found[0] == found[1]
    assert len({*found, ours}) == 3


def test_sysctls_of_the_host_are_refused(host):
    from engine.errors import InvalidSpec

    with pytest.raises(InvalidSpec, match="belongs to the whole host"):
        host.create("true", sysctls={"kernel.core_pattern": "|/x"})
    with pytest.raises(InvalidSpec, match="cannot be set with the host's net namespace"):
        host.create("true", sysctls={"net.ipv4.ip_forward": "1"}, network_mode="host")
    assert host.run("cat", "/proc/sys/net/ipv4/ip_forward", sysctls={"net.ipv4.ip_forward": "1"}).out == "1\n"


def test_sysctl_names_cannot_escape(host):
    from engine.errors import EngineError

    with pytest.raises(EngineError):
        host.run("true", sysctls={"net./../kernel/panic": "1"})
    with pytest.raises(EngineError):
        host.run("true", sysctls={"net....kernel.panic": "1"})


SETPRIV = """\
uid: 0
euid: 0
gid: 0
egid: 0
Supplementary groups: 0
no_new_privs: 0
Inheritable capabilities: [none]
Ambient capabilities: [none]
Capability bounding set: chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,\
mknod,audit_write,setfcap
Securebits: [none]
Parent death signal: [none]
"""
"""The output of util-linux's setpriv in a container of Docker Engine 28."""


def test_setpriv_confirms_privileges(host):
    found = host.run("/usr/bin/setpriv", "--dump", mounts=PYTHON).out
    assert re.sub(r"(?m)^(AppArmor|SELinux).*\n", "", found) == SETPRIV


ODD = """
import ctypes, os, sys
os.sched_setaffinity(0, range(8192))
print(len(os.sched_getaffinity(0)))
os.umask(0o77)
os.nice(5)
os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
open("/proc/self/oom_score_adj", "w").write("500")
libc = ctypes.CDLL(None)
libc.personality(0x40000)
libc.syscall({"x86_64": 251, "aarch64": 30}[os.uname().machine], 1, 0, 3 << 13)
sys.stdout.flush()

from engine.paths import Roots
from tests.security.host import PYTHON, Host
host = Host(Roots(*sys.argv[1:]))
ask = '''
import os
read = lambda name: open(f"/proc/self/{name}").read()
status = dict(line.split(":", 1) for line in read("status").splitlines())
print(len(os.sched_getaffinity(0)))
print(status["Umask"].strip(), status["SigIgn"].strip(), status["SigBlk"].strip())
print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), read("oom_score_adj").strip())
print(read("personality").strip())
'''
try:
    record = host.sleep(mounts=PYTHON)
    print(host.exec(record, "sh", "-c", "grep SigIgn /proc/1/status").out, end="")
    print(host.exec(record, "ionice").out, end="")
    for found in (host.python(ask), host.exec(record, "/usr/bin/python3", "-I", "-S", "-c", ask)):
        print(found.out, end="")
finally:
    host.end()
"""


def test_caller_is_not_visible(roots):
    """Containers do not inherit niceness, processors, umask, address layout … from the first command."""
    done = subprocess.run(
        [sys.executable, "-c", ODD, roots.state, roots.run], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    processors, ignored, priority, *found = done.stdout.splitlines()
    assert ignored == "SigIgn:\t" + NONE
    assert priority == "none: prio 0"
    # (Python itself ignores SIGPIPE and SIGXFSZ.)
    assert found == [processors, f"0022 {0x1001000:016x} {NONE}", "0 0 0", "00000000"] * 2
