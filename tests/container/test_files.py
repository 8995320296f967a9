"""The keys of the specification that determine the file system, seen from inside."""

import os
import subprocess

import pytest

from engine.container import etc
from engine.errors import EngineError, InvalidSpec, StartFailed, Unsupported
from engine.spec.container import Attachment, ContainerSpec, Mount
from engine.spec.network import NetworkSpec, VolumeSpec
from engine.spec.state import Status


def mounted(box, path, **fields):
    """Type, options and super block options of the mount at `path` inside, as /proc/self/mountinfo has them."""
    line = box.shell(f"grep ' {path} ' /proc/self/mountinfo | tail -1", **fields)
    head, _, tail = line.partition(" - ")
    kind, _, super_options = tail.split(" ", 2)
    return kind, set(head.split()[5].split(",")), set(super_options.split(","))


def bind(source, target="/m", **fields):
    return Mount(type="bind", source=str(source), target=target, **fields)


def test_read_only(box):
    network = (Attachment(network="tro"),)
    box.do(box.session.create_network(NetworkSpec(name="tro")))
    script = """
        for path in / /etc /root; do ! touch $path/x 2>/dev/null; done
        ! sh -c 'echo > /etc/hosts' 2>/dev/null
        touch /dev/shm/x /t/x /v/x; echo ok; grep -c $HOSTNAME /etc/hosts
    """
    mounts = (Mount(type="tmpfs", target="/t"), Mount(type="volume", target="/v"))
    assert box.shell(script, read_only=True, mounts=mounts, networks=network) == "ok\n1"


def test_tmpfs_by_default_is_safe_and_anyones(box):
    kind, options, _ = mounted(box, "/t", mounts=(Mount(type="tmpfs", target="/t"),))
    assert kind == "tmpfs" and {"rw", "nosuid", "nodev", "noexec"} <= options
    assert box.shell("stat -c %a /t; echo > /t/x", user="web", mounts=(Mount(type="tmpfs", target="/t"),)) == "1777"


def test_tmpfs_options(box):
    mount = Mount(type="tmpfs", target="/t/", options=("exec", "mode=750", "uid=1000", "gid=7"), size=1 << 20)
    _, options, super_options = mounted(box, "/t", mounts=(mount,))
    assert "noexec" not in options and {"size=1024k", "mode=750", "uid=1000", "gid=7"} <= super_options
    assert box.shell("stat -c %a /t", mounts=(Mount(type="tmpfs", target="/t", mode=0o700),)) == "700"
    ro = mounted(box, "/t", mounts=(Mount(type="tmpfs", target="/t", read_only=True),))
    assert "ro" in ro[1]
    with pytest.raises(InvalidSpec, match="unknown option 'colour=red'"):
        box.create("true", mounts=(Mount(type="tmpfs", target="/t", options=("colour=red",)),))


def test_shm_size(box):
    assert "size=65536k" in mounted(box, "/dev/shm")[2]
    assert "size=4096k" in mounted(box, "/dev/shm", shm_size=4 << 20)[2]


def test_bind_of_folder_and_file(box, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    mounts = (bind(tmp_path / "folder", "/a/b"), bind(tmp_path / "file", "/a/f", read_only=True))
    assert (
        box.shell("cat /a/f; echo written > /a/b/x; (echo > /a/f) 2>/dev/null || echo refused", mounts=mounts)
        == "textrefused"
    )
    assert (tmp_path / "folder/x").read_text() == "written\n"


def test_bind_of_a_missing_source(box, tmp_path):
    box.shell("test -d /m", mounts=(bind(tmp_path / "new/one"),))
    assert (tmp_path / "new/one").is_dir()
    record = box.create("true", mounts=(bind(tmp_path / "none", create_host_path=False),))
    with pytest.raises(InvalidSpec, match="does not exist"):
        box.do(box.session.start(record.id))
    assert not (tmp_path / "none").exists() and box.state(record).status is Status.CREATED


@pytest.fixture
def nested(tmp_path):
    """A folder with a mount below it, shared as on an ordinary host."""
    (tmp_path / "top/below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "top"], check=True)
    subprocess.run(["mount", "--make-shared", tmp_path / "top"], check=True)
    (tmp_path / "top/below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "top/below"], check=True)
    (tmp_path / "top/below/file").write_text("deep")
    yield tmp_path / "top"
    subprocess.run(["umount", "-R", "-l", tmp_path / "top"], check=True)


@pytest.mark.parametrize(
    ("fields", "sees", "writes"),
    [
        ({}, True, True),
        ({"recursive": "disabled"}, False, False),
        ({"read_only": True}, True, False),
        ({"read_only": True, "recursive": "writable"}, True, True),
        ({"read_only": True, "recursive": "readonly"}, True, False),
        ({"propagation": "private"}, True, True),
    ],
)
def test_bind_includes_mounts_below(box, nested, fields, sees, writes):
    script = "cat /m/below/file 2>/dev/null || true; touch /m/below/x 2>/dev/null && echo ' written' || true"
    found = box.shell(script, mounts=(bind(nested, **fields),))
    if "disabled" in fields.values():
        assert found == " written"  # the folder that the mount covers on the host
    else:
        assert found == ("deep" if sees else "") + (" written" if writes else "")


@pytest.mark.parametrize(("propagation", "follows"), [("rprivate", False), ("rslave", True), ("rshared", True)])
def test_mounts_of_the_host_are_followed(box, nested, propagation, follows):
    record = box.start(mounts=(bind(nested, propagation=propagation),))
    (nested / "later").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", nested / "later"], check=True)
    (nested / "later/x").write_text("later")
    assert (box.inside(record, "cat /m/later/x 2>/dev/null || true") == "later") is follows


def test_mounts_of_the_container_are_passed_on_only_when_shared(box, nested):
    script = "mkdir -p /m/inner; mount -t tmpfs none /m/inner; touch /m/inner/x"
    for propagation, passed in (("rslave", False), ("rshared", True)):
        record = box.start(privileged=True, mounts=(bind(nested, propagation=propagation),))
        box.inside(record, script)
        assert (nested / "inner/x").exists() is passed
        box.do(box.session.remove(record.id, force=True))
    with open("/proc/self/mountinfo") as file:
        assert not [line for line in file if "/upper" in line]


def test_propagation_requires_a_shared_mount(box, tmp_path):
    for propagation in ("rshared", "rslave"):
        record = box.create("true", mounts=(bind(tmp_path, propagation=propagation),))
        with pytest.raises(InvalidSpec, match="mount --make-shared"):
            box.do(box.session.start(record.id))


def test_selinux_flags_are_accepted(box, tmp_path):
    assert box.shell("echo ok", mounts=(bind(tmp_path, selinux="z"),)) == "ok"


def test_volumes_last_and_are_filled_from_the_image(box):
    box.do(box.session.create_volume(VolumeSpec(name="tv")))
    mounts = (Mount(type="volume", source="tv", target="/etc"),)
    assert box.shell("cat /etc/passwd | wc -l; stat -c %a /etc; echo mine > /etc/own", mounts=mounts) == "2\n755"
    assert box.shell("cat /etc/own", mounts=mounts) == "mine"
    assert box.shell("ls /v", mounts=(Mount(type="volume", source="tv", target="/v", read_only=True),)).split() == [
        "group", "hostname", "hosts", "own", "passwd", "resolv.conf",
    ]  # fmt: skip
    code, text = box.run("touch", "/v/x", mounts=(Mount(type="volume", source="tv", target="/v", read_only=True),))
    assert code == 1 and "Read-only" in text


def test_nocopy(box):
    box.do(box.session.create_volume(VolumeSpec(name="tn")))
    mounts = (Mount(type="volume", source="tn", target="/etc", nocopy=True),)
    assert box.shell("ls -A /etc", mounts=mounts).split() == ["hostname", "hosts", "resolv.conf"]
    assert "passwd" in box.shell("ls -A /etc", mounts=(Mount(type="volume", target="/etc"),))


def test_anonymous_volumes_go_with_the_container(box):
    record = box.start("sh", "-c", "echo kept > /v/x; sleep 1000", mounts=(Mount(type="volume", target="/v"),))
    (name,) = record.state.anonymous_volumes
    assert name in [volume.spec.name for volume in box.engine.volumes()]
    box.do(box.session.remove(record.id, force=True, volumes=True))
    assert name not in [volume.spec.name for volume in box.engine.volumes()]


def test_subpath_of_a_volume(box):
    box.do(box.session.create_volume(VolumeSpec(name="ts")))
    whole = (Mount(type="volume", source="ts", target="/v"),)
    box.shell(
        "mkdir -p /v/a/b; echo deep > /v/a/b/file; ln -s a/b /v/link; ln -s /etc /v/out; ln -s ../../.. /v/up",
        mounts=whole,
    )
    for subpath in ("a/b", "link", "/a/b/"):
        mounts = (Mount(type="volume", source="ts", target="/m", subpath=subpath),)
        assert box.shell("cat /m/file", mounts=mounts) == "deep"
    for subpath in ("out", "up", "../x", "none"):
        record = box.create("true", mounts=(Mount(type="volume", source="ts", target="/m", subpath=subpath),))
        with pytest.raises(InvalidSpec, match="subpath"):
            box.do(box.session.start(record.id))


def test_image_mounts(box):
    mounts = (
        Mount(type="image", source=box.image, target="/whole"),
        Mount(type="image", source=box.image, target="/part", subpath="etc"),
    )
    script = "ls /part/passwd /whole/bin/busybox; touch /part/x 2>/dev/null || echo refused"
    assert box.shell(script, mounts=mounts) == "/part/passwd\n/whole/bin/busybox\nrefused"


def test_volumes_from(box, tmp_path):
    box.do(box.session.create_volume(VolumeSpec(name="tf")))
    mounts = (Mount(type="volume", source="tf", target="/a"), bind(tmp_path, "/b"), Mount(type="tmpfs", target="/c"))
    origin = box.start(mounts=mounts)
    box.inside(origin, "echo a > /a/x; echo b > /b/x; echo c > /c/x")
    assert (
        box.shell("cat /a/x /b/x; ls /c 2>/dev/null || echo none", volumes_from=(f"container:{origin.id}",))
        == "a\nb\nnone"
    )
    assert (
        box.shell("cat /a/x; touch /a/y 2>/dev/null || echo refused", volumes_from=(f"{origin.spec.name}:ro",))
        == "a\nrefused"
    )


def test_files_of_secrets_and_configs(box, tmp_path):
    (tmp_path / "secret").write_bytes(b"\x00secret")
    mounts = (
        Mount(type="file", source=str(tmp_path / "secret"), target="/run/secrets/one", uid=1000, gid=7, mode=0o440),
        Mount(type="file", content="text", target="/etc/config"),
    )
    script = """
        stat -c '%u:%g %a %F' /run/secrets/one; wc -c < /run/secrets/one
        cat /etc/config; stat -c ' %u:%g %a' /etc/config; df -T /run/secrets/one | awk 'END{print $2}'
        ! touch /run/secrets/one 2>/dev/null
    """
    assert box.shell(script, mounts=mounts) == "1000:7 440 regular file\n7\ntext 0:0 444\ntmpfs"
    record = box.start(mounts=mounts)
    (tmp_path / "secret").write_text("changed")
    assert box.inside(record, "wc -c < /run/secrets/one") == "7"
    with pytest.raises(StartFailed, match=r"/none.*ENOENT"):
        box.run("true", mounts=(Mount(type="file", source="/none", target="/x"),))


@pytest.mark.parametrize("target", ["/proc/sys", "/proc/self/environ", "/in/sys"])
def test_no_mount_may_cover_proc(box, tmp_path, target):
    """CVE-2019-16884: not through a link in the image either."""
    first = box.start("sh", "-c", "ln -s /proc /in; touch /ready; sleep 1000")
    box.inside(first, "while ! [ -e /ready ]; do sleep 0.01; done")
    image = box.engine.commit(box.group, first.id, "")
    record = box.create("true", image=image.id, mounts=(bind(tmp_path, target),))
    try:
        with pytest.raises(StartFailed, match=r"inside /proc|is a file in the container"):
            box.do(box.session.start(record.id))
    finally:
        box.remove_all()
        box.engine.remove_image(image.id, force=True)


def test_lxcfs_files_may_cover_proc(box, tmp_path):
    (tmp_path / "uptime").write_text("1.0 1.0\n")
    assert box.shell("cat /proc/uptime", mounts=(bind(tmp_path / "uptime", "/proc/uptime"),)) == "1.0 1.0"


def test_host_dev_is_unchanged(box):
    before = set(os.listdir("/dev"))
    assert "null" in box.shell("ls /dev", privileged=True, mounts=(bind("/dev", "/dev"),)).split()
    assert set(os.listdir("/dev")) - before <= {"mqueue"}
    if "mqueue" not in before:
        os.rmdir("/dev/mqueue")


def test_mounts_below_dev_and_nested_ones(box, tmp_path):
    mounts = (
        bind(tmp_path, "/a/b/c"),
        Mount(type="tmpfs", target="/a"),
        Mount(type="tmpfs", target="/dev/shm", size=1 << 20),
    )
    assert box.shell("touch /a/b/c/x; df -k /dev/shm | awk 'END{print $2}'", mounts=mounts) == "1024"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("mounts", "error", "text"),
    [
        ((Mount(type="tmpfs", target="relative"),), InvalidSpec, "not an absolute path"),
        ((Mount(type="tmpfs", target="/"),), InvalidSpec, "cannot mount over /,"),
        ((Mount(type="bind", source="/", target="/proc/"),), InvalidSpec, "cannot mount over /proc"),
        (
            (Mount(type="tmpfs", target="/a"), Mount(type="tmpfs", target="/a/")),
            InvalidSpec,
            "two mounts have the target",
        ),
        ((Mount(type="npipe", target="/a"),), Unsupported, "npipe"),
        ((Mount(type="bind", source="/", target="/a", propagation="sideways"),), InvalidSpec, "sideways"),
    ],
)
def test_invalid_mounts_are_refused(box, mounts, error, text):
    with pytest.raises(error, match=text):
        box.create("true", mounts=mounts)


def test_storage_opt_is_refused_by_name(box):
    with pytest.raises(Unsupported, match="storage_opt"):
        box.create("true", storage_opt={"size": "1G"})


def test_a_missing_volume_is_named(box):
    record = box.create("true", mounts=(Mount(type="volume", source="tmissing", target="/v"),))
    with pytest.raises(EngineError, match="no such volume: tmissing"):
        box.do(box.session.start(record.id))


def test_mtab_is_a_link_to_the_mounts_unless_the_image_has_its_own(box):
    assert box.shell("readlink /etc/mtab; grep -c ' / ' /etc/mtab") == "/proc/mounts\n1"
    assert box.shell("rm /etc/mtab && echo own > /etc/mtab && cat /etc/mtab") == "own"


@pytest.mark.parametrize(
    ("search", "line"),
    [((".",), ""), (("x.test", "."), "search x.test\n"), (("x.test", "y.test."), "search x.test y.test.\n")],
)
def test_root_domain_is_not_a_search_domain(search, line):
    spec = ContainerSpec(name="a", image="i", dns=("9.9.9.9",), dns_search=search)
    assert etc.resolv_conf(spec, "search host.test\n", embedded=False) == f"nameserver 9.9.9.9\n{line}"


def test_a_container_has_dockerenv(box):
    assert box.shell("stat -c '%s %a %F' /.dockerenv") == "0 755 regular empty file"
