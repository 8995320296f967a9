"""Volumes with options of the local driver, mounted."""

import os
import subprocess

import pytest

from engine.errors import Conflict, InvalidSpec, OperationFailed, Unsupported
from engine.kernel import calls
from engine.spec.container import Mount
from engine.spec.network import VolumeSpec


def make(box, name="topt", **options):
    return box.do(box.session.create_volume(VolumeSpec(name=name, driver_opts=options)))


def mount(name="topt"):
    return (Mount(type="volume", source=name, target="/v"),)


def test_tmpfs(box):
    make(box, type="tmpfs", device="tmpfs", o="size=1m,uid=1000,mode=0750,noexec")
    script = (
        "df -kT /v | awk 'END{print $2, $3}'; stat -c '%u %a' /v; grep ' /v ' /proc/self/mountinfo | grep -c noexec"
    )
    assert box.shell(script, mounts=mount()) == "tmpfs 1024\n1000 750\n1"


def test_mounted_volume_is_shared(box):
    make(box, type="tmpfs", device="tmpfs")
    first = box.start(mounts=mount())
    box.inside(first, "echo shared > /v/x")
    assert box.shell("cat /v/x", mounts=mount()) == "shared"


def test_an_unused_volume_is_unmounted(box):
    place = make(box, type="tmpfs", device="tmpfs").mountpoint
    first, second = box.start(mounts=mount()), box.start(mounts=mount())
    assert calls.mount_id(place) != calls.mount_id(os.path.dirname(place))
    box.do(box.session.stop(first.id))
    assert calls.mount_id(place) != calls.mount_id(os.path.dirname(place))
    box.do(box.session.stop(second.id))
    assert calls.mount_id(place) == calls.mount_id(os.path.dirname(place))


def test_bind(box, tmp_path):
    (tmp_path / "file").write_text("text")
    make(box, type="none", o="bind", device=str(tmp_path))
    assert box.shell("cat /v/file; echo > /v/made", mounts=mount()) == "text"
    assert (tmp_path / "made").exists()
    box.remove_all()
    assert (tmp_path / "file").read_text() == "text"
    assert str(tmp_path) not in open("/proc/self/mountinfo").read()


def test_bind_read_only(box, tmp_path):
    make(box, o="bind,ro", device=str(tmp_path))
    assert box.shell("(touch /v/x) 2>/dev/null || echo refused", mounts=mount()) == "refused"


def test_a_file_system_on_a_disc(box, tmp_path):
    image = tmp_path / "disc"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        loop = subprocess.run(
            ["losetup", "-f", "--show", image], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine has no loop devices")
    try:
        make(box, type="ext4", device=loop)
        assert "lost+found" in box.shell("ls /v", mounts=mount())
        box.remove_all()
    finally:
        subprocess.run(["losetup", "-d", loop], check=True)


@pytest.fixture
def mounted(monkeypatch):
    """The requested mounts, as (source, type, flags, data); nothing is mounted."""
    found = []
    monkeypatch.setattr(
        calls, "mount", lambda source, place, kind, bits=0, data=None: found.append((source, kind, bits, data))
    )
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"type": "nfs", "o": "addr=127.0.0.1,rw,vers=4", "device": ":/data"}, (":/data", "nfs", 0, "vers=4,addr=127.0.0.1")),
        ({"type": "nfs4", "o": "ro,soft", "device": "localhost:/data"}, ("localhost:/data", "nfs4", 1, "soft,addr=127.0.0.1")),
        ({"type": "cifs", "o": "username=u,password=p", "device": "//localhost/share"},
         ("//localhost/share", "cifs", 0, "username=u,password=p,ip=127.0.0.1")),
        ({"type": "cifs", "o": "addr=127.0.0.2,vers=3.0", "device": "//server/share"},
         ("//server/share", "cifs", 0, "vers=3.0,ip=127.0.0.2")),
    ],
)  # fmt: skip
def test_servers(box, mounted, options, expected):
    from engine.volume import options as driver

    driver.mount(VolumeSpec(name="tnet", driver_opts=options), "/place")
    assert mounted == [expected]


def test_failures_do_not_show_the_password(box):
    make(box, type="cifs", o="username=u,password=geheim", device="//127.0.0.1/none")
    record = box.create("true", mounts=mount())
    with pytest.raises(OperationFailed) as raised:
        box.do(box.session.start(record.id))
    text = str(raised.value)
    assert "volume topt (type cifs, device //127.0.0.1/none" in text and "geheim" not in text and "password=…" in text
    assert raised.value.errno and "\n" in text  # with a hint


def test_a_missing_folder(box):
    make(box, o="bind", device="/none/at/all")
    record = box.create("true", mounts=mount())
    with pytest.raises(OperationFailed, match="volume topt"):
        box.do(box.session.start(record.id))


def test_an_unknown_server(box):
    make(box, type="nfs", o="addr=nowhere.invalid", device=":/x")
    record = box.create("true", mounts=mount())
    with pytest.raises(OperationFailed, match=r"find the address of nowhere\.invalid"):
        box.do(box.session.start(record.id))


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"driver_opts": {"o": "size=1m"}}, InvalidSpec, "need a type"),
        ({"driver_opts": {"type": "nfs"}}, InvalidSpec, "need a device"),
        ({"driver_opts": {"o": "bind", "device": "relative"}}, InvalidSpec, "not an absolute path"),
        ({"driver_opts": {"o": "bind,uid=1000", "device": "/"}}, InvalidSpec, "'uid' has no effect on a bind mount"),
        ({"driver_opts": {"kind": "x"}}, Unsupported, "no option 'kind'"),
        ({"driver": "rexray"}, Unsupported, "driver 'rexray'"),
        ({"name": "-bad"}, InvalidSpec, "-bad"),
    ],
)
def test_invalid_options_are_refused(box, fields, error, text):
    with pytest.raises(error, match=text):
        box.do(box.session.create_volume(VolumeSpec(**{"name": "tbad", **fields})))


def test_changed_options_are_refused(box):
    make(box, type="tmpfs")
    assert make(box, type="tmpfs").spec.name == "topt"
    with pytest.raises(Conflict, match="different driver options"):
        make(box, type="tmpfs", o="size=1m")


def test_a_volume_in_use_stays(box):
    make(box, type="tmpfs")
    record = box.create("true", mounts=mount())
    with pytest.raises(Conflict, match="in use"):
        box.do(box.session.remove_volume("topt"))
    box.do(box.session.remove(record.id))
    box.do(box.session.remove_volume("topt"))
    assert not os.path.exists(f"{box.roots.volumes}/topt")
    box.do(box.session.remove_volume("topt"))
