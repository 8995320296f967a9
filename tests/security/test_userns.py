"""Private user namespaces: root inside is nobody outside, and files keep their ids from inside."""

import io
import os
import stat
import tarfile

import pytest

from engine.container import userns
from engine.errors import InvalidSpec, NotFound, Unsupported
from engine.spec.container import ContainerSpec, Device, Mount, Ulimit


def first_outside(host):
    return userns.maps(host.group)["uids"][0][1]


def status(pid, key):
    with open(f"/proc/{pid}/status") as file:
        return next(line.split()[1:] for line in file if line.startswith(f"{key}:"))


def test_root_inside_is_nobody_outside(host):
    base = first_outside(host)
    record = host.sleep(userns_mode="private")
    assert status(record.state.pid, "Uid") == [str(base)] * 4
    assert status(record.state.pid, "Gid") == [str(base)] * 4
    assert os.readlink(f"/proc/{record.state.pid}/ns/user") != os.readlink("/proc/self/ns/user")
    assert host.exec(record, "id", "-u").out == "0\n"
    assert host.exec(record, "cat", "/proc/self/uid_map").out.split() == ["0", str(base), "65536"]


def test_unprivileged_user_in_user_namespace(host):
    record = host.sleep(userns_mode="private", user="web", group_add=("10",))
    assert status(record.state.pid, "Uid")[0] == str(first_outside(host) + 1000)
    assert (
        host.exec(record, "sh", "-c", "id -u; id -g; echo x > /tmp/x && ls -ln /tmp/x").out.split()[:2] == ["1000"] * 2
    )
    assert host.exec(record, "id", "-u", user="0").out == "0\n"


def test_the_disc_has_the_ids_inside(host):
    """So a container can move between user namespaces, and commit, cp and volumes need not consider them."""
    record = host.sleep(userns_mode="private")
    assert (
        host.exec(record, "sh", "-ec", "mkdir /made; echo > /made/root; echo > /made/web; chown 1000:50 /made/web").code
        == 0
    )
    assert host.exec(record, "sh", "-ec", "rm /etc/passwd; mkdir -p /a/b; rm -r /var; mkdir /var").code == 0
    upper = f"{host.roots.container(host.group, record.id)}/upper"
    owner = {
        name: (os.lstat(f"{upper}/{name}").st_uid, os.lstat(f"{upper}/{name}").st_gid)
        for name in ("made/root", "made/web")
    }
    assert owner == {"made/root": (0, 0), "made/web": (1000, 50)}
    assert stat.S_ISCHR(os.lstat(f"{upper}/etc/passwd").st_mode)
    assert os.getxattr(f"{upper}/var", "trusted.overlay.opaque") == b"y"


def test_volumes_and_binds(host, tmp_path):
    volume = host.volume()
    (tmp_path / "own").write_text("of root")
    os.chmod(tmp_path / "own", 0o600)
    mounts = (
        Mount(type="volume", source=volume, target="/v"),
        Mount(type="bind", source=str(tmp_path), target="/b"),
        Mount(type="tmpfs", target="/t"),
        Mount(type="file", content="hidden", target="/run/secret", uid=1000, gid=1000, mode=0o400),
        Mount(type="image", source=host.image, target="/i"),
    )
    script = """set -e
    cat /b/own
    ls -ln /run/secret /b/own /i/bin/busybox | awk '{print $3, $4}'
    for d in v b t; do echo > /$d/new; chown 7 /$d/new; done"""
    first = host.shell(script, mounts=mounts, userns_mode="private")
    assert first.code == 0, first
    assert first.out.splitlines()[0] == "of root0 0"
    assert first.out.splitlines()[1:3] == ["0 0", "1000 1000"]
    assert os.stat(tmp_path / "new").st_uid == 7
    assert os.stat(f"{host.roots.volumes}/{volume}/_data/new").st_uid == 7
    again = host.shell("stat -c %u /v/new /b/new", mounts=mounts[:2])
    assert again.out.split() == ["7", "7"]


def test_devices(host):
    device = Device(path_on_host="/dev/full", path_in_container="/dev/inner/full")
    script = (
        "set -e; echo > /dev/null; ls /dev/inner/full; ! echo > /dev/inner/full; head -c 3 /dev/zero; ! mknod /x c 1 3"
    )
    found = host.shell(script, userns_mode="private", devices=(device,))
    assert found.code == 0, found


def test_privileges_reach_no_further_than_the_namespace(host):
    """Even with all capabilities, nothing of the machine can be changed."""
    record = host.sleep(
        userns_mode="private", cap_add=("ALL",), security_opt=("seccomp=unconfined", "systempaths=unconfined")
    )
    refused = (
        "mount -t ext4 /dev/vda /mnt",
        "mknod /tmp/vda b 254 0",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "dmesg -c",
        "echo x > /sys/kernel/uevent_helper",
        "chroot /proc/1/root/../.. true && mount -o remount,rw /sys && echo x > /sys/kernel/uevent_helper",
    )
    for command in refused:
        assert host.exec(record, "sh", "-c", command).code != 0, command
    assert host.exec(record, "sh", "-c", "hostname other && mount -t tmpfs tmpfs /tmp && ip link set lo down").code == 0


def test_terminal_limits_and_score(host):
    record = host.start(
        *("sh", "-c", "tty; ulimit -n; cat /proc/self/oom_score_adj; ls -ln /dev/console"),
        tty=True,
        userns_mode="private",
        ulimits=(Ulimit(name="nofile", soft=1000, hard=2000),),
        oom_score_adj=500,
    )
    host.end_of(record)
    lines = host.output(record).splitlines()
    assert lines[:3] == ["/dev/pts/0", "1000", "500"]
    assert lines[3].startswith("crw")


def test_stdout_can_be_opened_again(host):
    assert host.shell("echo one > /dev/stdout; echo two > /proc/self/fd/2", userns_mode="private").out == "one\ntwo\n"
    assert host.shell("echo one > /dev/stdout", user="web", userns_mode="private").out == "one\n"


def test_shared_namespaces_share_the_user_namespace(host):
    first = host.sleep(userns_mode="private", ipc_mode="shareable")
    joined = {
        "network_mode": f"container:{first.id}",
        "ipc_mode": f"container:{first.id}",
        "pid_mode": f"container:{first.id}",
    }
    second = host.sleep(userns_mode="private", **joined)
    for kind in ("user", "net", "ipc", "pid"):
        links = {os.readlink(f"/proc/{record.state.pid}/ns/{kind}") for record in (first, second)}
        assert len(links) == 1, kind
    assert host.exec(second, "id", "-u").out == "0\n"
    assert "sleep" in host.exec(second, "ps").out
    with pytest.raises(InvalidSpec, match="shares a namespace with one in a private user namespace"):
        host.sleep(network_mode=f"container:{first.id}")


def test_setting(host, monkeypatch):
    monkeypatch.setenv("COMPOSER_USERNS", "private")
    assert "4294967295" not in host.run("cat", "/proc/self/uid_map").out
    assert "4294967295" in host.run("cat", "/proc/self/uid_map", userns_mode="host").out
    monkeypatch.setenv("COMPOSER_USERNS", "remap")
    with pytest.raises(InvalidSpec, match="Set it to host or private"):
        host.create("true")


@pytest.mark.parametrize(
    "wish",
    [
        {"privileged": True},
        {"network_mode": "host"},
        {"pid_mode": "host"},
        {"ipc_mode": "host"},
        {"mounts": (Mount(type="bind", source="/mnt", target="/mnt", propagation="rshared"),)},
    ],
    ids=lambda wish: next(iter(wish)),
)
def test_refusals(wish):
    with pytest.raises(InvalidSpec, match="with a private user namespace"):
        userns.settle(ContainerSpec(name="c", image="i", userns_mode="private", **wish), {})


def test_unknown_mode():
    with pytest.raises(Unsupported, match="userns_mode 'keep-id' is not supported"):
        userns.settle(ContainerSpec(name="c", image="i", userns_mode="keep-id"), {})


def test_copies_have_the_ids_inside(host):
    record = host.sleep(userns_mode="private")
    host.exec(record, "sh", "-c", "echo hi > /f; chown 1000:50 /f")
    out = os.memfd_create("out")
    host.engine.copy_out(host.group, record.id, "/f", out)
    assert owners(out) == {"f": (1000, 50)}
    for as_user in (False, True):
        os.lseek(out, 0, os.SEEK_SET)
        host.engine.copy_in(host.group, record.id, "/tmp", out, as_user=as_user)
        assert host.exec(record, "stat", "-c", "%u", "/tmp/f").out.strip() == "1000"
    with pytest.raises(NotFound, match="nowhere"):
        host.engine.copy_out(host.group, record.id, "/nowhere", out)
    exported = os.memfd_create("export")
    host.engine.export(host.group, record.id, exported)
    assert owners(exported).items() >= {("f", (1000, 50)), ("bin", (0, 0))}


def owners(fd):
    with tarfile.open(fileobj=io.BytesIO(os.pread(fd, 1 << 26, 0))) as tar:
        return {member.name: (member.uid, member.gid) for member in tar}
