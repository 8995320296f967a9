"""Containers started by a script equal those started by a fork of the keeper, which still starts those that a script
cannot."""

import io
import re
import tarfile
from pathlib import Path

import pytest

from engine.errors import StartFailed
from engine.keeper.script import recording as recording_module
from engine.keeper.script.recording import Recording, Unscripted
from engine.spec.container import Device, Mount, Ulimit

LOOK = r"""
sed 's/^[0-9]* [0-9]* [0-9]*:[0-9]* //' /proc/self/mountinfo | sort
grep -E '^(Uid|Gid|Groups|Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp|Umask)' /proc/1/status | grep -v SigQ
cat /proc/1/limits /proc/1/cgroup
tr '\0' '\n' < /proc/1/environ | sort
tr '\0' ' ' < /proc/1/cmdline; readlink /proc/1/cwd; readlink /proc/1/exe
ls /proc/1/fd; readlink /proc/1/fd/0
places="$(ls -d /dev/[!s]* /dev/s[!h]*) /work* /data* /run /tmp"
find $places /etc/hosts /etc/hostname /etc/resolv.conf -exec stat -c '%n %F %a %u:%g %t:%T %N' {} +
cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/hostname
cat /etc/hosts /etc/resolv.conf; grep -v '^ *$' /proc/net/dev | wc -l; ls /proc/self/task/*/attr /proc/bus 2>/dev/null
for path in /proc/kcore /proc/sys/kernel/hostname /sys/kernel /etc/hosts /new; do (: > $path) 2>&1 | sed 's/.*: //'; done
"""


def scripted(record, box):
    """Whether it was a script: a copy of the keeper has about 600 page faults more until it is the program."""
    fields = Path(f"/proc/{box.state(record).pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7]) < 350


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user": "web", "group_add": ("10",), "working_dir": "/work/deep"},
        {"read_only": True, "hostname": "name", "environment": {"A": "b=c\nd", "EMPTY": ""}},
        {"privileged": True},
        {"cap_add": ("NET_ADMIN",), "cap_drop": ("CHOWN",), "security_opt": ("no-new-privileges",)},
        {"security_opt": ("seccomp=unconfined", "systempaths=unconfined")},
        {"ulimits": (Ulimit(name="nofile", soft=100, hard=200),), "shm_size": 1 << 20, "user": "1000:5"},
        {"stdin_open": True, "domainname": "dom.ain", "working_dir": "/work/../data/x/./y//z/", "user": "root:web"},
        {
            "environment": {
                "PATH": "/nowhere::/bin",
                "HOME": "",
                **{f"V{number}": "ä" * number for number in range(200)},
            }
        },
        {
            "cap_drop": ("ALL",),
            "cap_add": ("SYS_PTRACE",),
            "user": "web:",
            "sysctls": {"net.ipv4.ip_unprivileged_port_start": "80"},
        },
        {"network_mode": "host"},
        {"ipc_mode": "host", "uts_mode": "host", "cgroup_mode": "host"},
        {"ipc_mode": "none", "devices": (Device(path_on_host="/dev/zero", path_in_container="/dev/deep/er/zero"),)},
        {"devices": (Device(path_on_host="/dev/zero", path_in_container="/data/zero"),)},
        {
            "mounts": (
                Mount(type="tmpfs", target="/work/tmp", size=1 << 20, mode=0o750),
                Mount(type="bind", source="/usr/bin", target="/work/tmp/be/low"),
                Mount(type="file", target="/run/secrets/key", content="x", uid=5, gid=6, mode=0o400),
                Mount(type="bind", source="/usr", target="/data/usr", read_only=True),
                Mount(type="bind", source="/etc/passwd", target="/data/passwd"),
                Mount(type="volume", target="/data/volume"),
            )
        },
    ],
    ids=lambda fields: "-".join(fields) or "plain",
)
def test_both_back_ends_give_the_same_container(box, fields):
    seen, ways = [], []
    for score in (0, 1):  # a script does not set a score
        record = box.start(**{"network_mode": "none", **fields}, oom_score_adj=score)
        ways.append(scripted(record, box))
        _, out, err = box.exec(record, "sh", "-c", LOOK, user="0")
        text = (out + err).replace(record.id, "ID").replace(record.id[:12], "ID").replace(record.spec.name, "NAME")
        text = re.sub(r"\b[0-9a-f]{64}\b", "HEX", text)  # of a volume
        seen.append(sorted(text.splitlines()))
        box.do(box.session.remove(record.id, force=True, volumes=True))
    differing = sorted(set(seen[0]) ^ set(seen[1]))
    assert not differing
    assert seen[0] == seen[1]
    assert ways == [True, False]


def test_unexpected_results_fall_back_to_a_fork(box, images, busybox_rootfs):
    """A mount's target that is a dangling link."""
    archive = io.BytesIO(busybox_rootfs)
    with tarfile.open(fileobj=archive, mode="a") as tar:
        link = tarfile.TarInfo("etc/resolv.conf")
        link.type, link.linkname = tarfile.SYMTYPE, "../run/stub/resolv.conf"
        tar.addfile(link)
    image = images(rootfs=archive.getvalue())
    record = box.start(image=image, network_mode="none")
    assert not scripted(record, box)
    assert box.inside(record, "test -s /etc/resolv.conf; test -e /run/stub/resolv.conf; echo $?") == "0"
    box.do(box.session.stop(record.id))
    assert box.state(record).exit_code == 137


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"command": ("nothing",)}, 127, 'exec: "nothing": executable file not found in $PATH'),
        ({"command": ("/nothing",)}, 127, 'exec: "/nothing": stat /nothing: no such file or directory'),
        ({"command": ("/etc/passwd",)}, 126, 'exec: "/etc/passwd": permission denied'),
        ({"working_dir": "/etc/passwd"}, 126, "change to the working directory /etc/passwd: ENOTDIR"),
        ({"user": "nobody-here"}, 125, "find user nobody-here: no matching entry"),
    ],
)
def test_both_back_ends_report_the_same_errors(box, fields, code, words):
    said = []
    for score in (0, 1):
        with pytest.raises(StartFailed) as raised:
            box.start(*fields.get("command", ()), network_mode="none", oom_score_adj=score, **fields)
        said.append((raised.value.exit_code, str(raised.value)))
    assert said[0] == said[1]
    assert said[0][0] == code and words in said[0][1]


def test_no_process_keeps_a_copy_of_the_keeper(box):
    """The process gets nothing from the keeper except its streams."""
    record = box.start("sh", "-c", "ls -l /proc/1/fd; sleep 1000", network_mode="none")
    assert "composer" not in box.inside(record, "cat /proc/1/maps; ls -l /proc/1/fd /proc/1/exe /proc/1/map_files")


def test_a_script_has_its_limits():
    recording = Recording()
    with pytest.raises(Unscripted):
        recording.data(bytes(1 << 30))
    with pytest.raises(Unscripted):
        recording.call("chdir", "a\0b")
    with pytest.raises(Unscripted):
        for _ in range(2000):
            recording.call("setsid")


def test_many_variables_and_arguments(box):
    """As much as execve(2) accepts."""
    wanted = {f"V{number}": "x" * 1000 for number in range(500)}
    assert box.shell("env | grep -c '^V'", environment=wanted, network_mode="none") == "500"


HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_kernels_headers(machine):
    path = Path(HEADERS[machine])
    if not path.exists():
        pytest.skip("no headers of the kernel")
    told = dict(re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)$", path.read_text(), flags=re.MULTILINE))
    numbers = dict(zip(recording_module._NAMES, recording_module._NUMBERS[machine], strict=True))
    assert numbers == {name: int(told[name]) for name in numbers}


@pytest.mark.parametrize("file", ["passwd", "group"])
def test_names_in_another_file_system_are_not_read_by_the_keeper(box, tmp_path, file):
    """Otherwise one container whose file is on a server that does not answer would block the keeper for all its
    containers."""
    (tmp_path / file).write_text("web:x:7:8::/:/bin/sh\n")
    mount = Mount(type="bind", source=str(tmp_path / file), target=f"/etc/{file}")
    record = box.start(network_mode="none", mounts=(mount,), user="web" if file == "passwd" else "0:web")
    assert not scripted(record, box)
    assert box.inside(record, "id -u; id -g").split() == (["7", "8"] if file == "passwd" else ["0", "7"])
