"""Capabilities, privileged, devices and their rules, security options, seen from inside."""

import os
import stat

import pytest

from engine.container import capabilities
from engine.errors import InvalidSpec, OperationFailed
from engine.spec.container import Device

STATUS = "awk '/^(CapEff|CapBnd|NoNewPrivs|Seccomp):/{print $2}' /proc/self/status | xargs"


def path_of_entry():
    """The largest set that this machine's root has."""
    with open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("CapBnd")), 16)


def masks(box, **fields):
    effective, bounding, new, seccomp = box.shell(STATUS, **fields).split()
    return int(effective, 16), int(bounding, 16), new, seccomp


@pytest.mark.parametrize(
    ("add", "drop", "names"),
    [
        ((), (), capabilities.DEFAULT),
        (("NET_ADMIN", "cap_sys_time"), ("CAP_CHOWN",), {*capabilities.DEFAULT, "NET_ADMIN", "SYS_TIME"} - {"CHOWN"}),
        ((), ("ALL",), ()),
        (("NET_BIND_SERVICE",), ("ALL",), ("NET_BIND_SERVICE",)),
        (("ALL",), (), capabilities.NAMES),
        (("ALL",), ("NET_RAW",), {*capabilities.NAMES} - {"NET_RAW"}),
    ],
)
def test_capabilities(box, add, drop, names):
    expected = capabilities.mask(names) & path_of_entry()
    assert masks(box, cap_add=add, cap_drop=drop)[:2] == (expected, expected)


def test_ordinary_user_has_no_capabilities(box):
    effective, bounding, _, _ = masks(box, user="web", cap_add=("SYS_TIME",))
    assert effective == 0 and bounding == capabilities.mask((*capabilities.DEFAULT, "SYS_TIME")) & path_of_entry()


def test_unknown_capabilities(box):
    with pytest.raises(InvalidSpec, match="unknown capability 'FLY'"):
        box.create("true", cap_add=("FLY",))


def test_default_isolation(box):
    refused = [
        "mount -t tmpfs none /tmp",
        "hostname x",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo > /proc/sysrq-trigger",
        "mknod /dev/x b 8 0 && dd if=/dev/x of=/dev/null count=1",
        "touch /sys/x",
        "head -c 1 /proc/kcore | grep .",
    ]
    script = "".join(f"if ({one}) 2>/dev/null; then echo '{one}'; fi\n" for one in refused) + "echo ok"
    assert box.shell(script) == "ok"
    assert masks(box)[2:] == ("0", "2")


def test_privileged(box):
    assert masks(box, privileged=True) == (path_of_entry(), path_of_entry(), "0", "0")
    script = "mount -t tmpfs none /tmp && touch /tmp/x; hostname x; test -w /sys/kernel; ls /dev | wc -l"
    assert int(box.shell(script, privileged=True)) > 20


@pytest.mark.parametrize("option", ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"])
def test_no_new_privileges(box, option):
    assert masks(box, security_opt=(option,))[2] == "1"
    assert masks(box, security_opt=(option,), user="web")[3] == "2"


def test_unknown_security_options_are_refused(box):
    assert masks(box, security_opt=("seccomp=unconfined", "label:disable"))[3] == "0"
    assert box.shell("test -w /proc/sys/kernel/panic && echo open", security_opt=("systempaths=unconfined",)) == "open"
    with pytest.raises(InvalidSpec, match="'magic:on': not known"):
        box.create("true", security_opt=("magic:on",))


def test_devices_of_every_container(box):
    nodes = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done"
    script = f"{nodes}; readlink /dev/fd; readlink /dev/ptmx"
    assert box.shell(script).split("\n") == [
        "/dev/null 1:3 666", "/dev/zero 1:5 666", "/dev/full 1:7 666", "/dev/random 1:8 666", "/dev/urandom 1:9 666",
        "/dev/tty 5:0 666", "/proc/self/fd", "pts/ptmx",
    ]  # fmt: skip


@pytest.fixture
def device(tmp_path):
    """Another name of /dev/zero with the number of a device that no container has: kmsg (1:11) is too dear."""
    path = tmp_path / "device"
    os.mknod(path, stat.S_IFCHR | 0o640, os.makedev(10, 235))  # autofs; opening it has no effect
    os.chown(path, 3, 4)
    return path


def test_a_device_with_its_owner_mode_and_permissions(box, device):
    for permissions, allowed in (("rwm", "c 10:235 rwm"), ("r", "c 10:235 r")):
        devices = (Device(path_on_host=str(device), path_in_container="/dev/mine/x", permissions=permissions),)
        record = box.start(devices=devices)
        assert box.inside(record, "stat -c '%t:%T %a %u:%g' /dev/mine/x") == "a:eb 640 3:4"
        with open(f"/proc/{record.state.pid}/cgroup") as file:
            path = next((line.split(":")[2].strip() for line in file if ":devices:" in line), None)
        if path is not None:
            with open(f"/sys/fs/cgroup/devices{path}/devices.list") as file:
                assert allowed in file.read().splitlines()


def test_device_cgroup_rules(box, device):
    script = "mknod /x c 10 235; (exec < /x) 2>/dev/null && echo open || echo refused"
    opened = os.path.exists("/dev/autofs")
    assert box.shell(script) == "refused"
    if opened:
        assert box.shell(script, device_cgroup_rules=("c 10:235 r",)) == "open"
    with pytest.raises(InvalidSpec, match="not of the form"):
        box.create("true", device_cgroup_rules=("everything",))


def test_invalid_devices(box, tmp_path):
    for path, error, text in (
        ("/none", OperationFailed, "ENOENT"), ("/etc/passwd", InvalidSpec, "is not a device file"),
    ):  # fmt: skip
        record = box.create("true", devices=(Device(path_on_host=path, path_in_container="/dev/x"),))
        with pytest.raises(error, match=text):
            box.do(box.session.start(record.id))
    record = box.create(
        "true", devices=(Device(path_on_host="/dev/null", path_in_container="/dev/x", permissions="z"),)
    )
    with pytest.raises(InvalidSpec, match="permissions 'z'"):
        box.do(box.session.start(record.id))


def test_a_folder_of_devices(box, device):
    devices = (Device(path_on_host=str(device.parent), path_in_container="/dev/all"),)
    assert box.shell("ls /dev/all", devices=devices) == "device"
