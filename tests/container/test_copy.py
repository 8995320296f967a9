"""cp and export, in and out, of running and of stopped containers; and attacks by hostile containers."""

import io
import os
import tarfile
import threading

import pytest

from engine.errors import Corrupt, EngineError, InvalidSpec, NotFound
from engine.spec.container import Mount
from engine.spec.network import VolumeSpec


def archive(**entries):
    """A tar archive; values are content, None for a directory, ("link", target), or a TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                info, content = content, b""
            elif content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, tuple):
                info.type, info.linkname = tarfile.SYMTYPE, content[1]
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def through(work, data=b""):
    """Run `work(descriptor)` with the other end of a pipe; returns what it wrote, or feeds it `data`."""
    read, write = os.pipe()
    theirs, ours = (read, write) if data else (write, read)
    out = bytearray()

    def other():
        if data:
            with os.fdopen(ours, "wb") as file, pytest.MonkeyPatch.context():
                try:
                    file.write(data)
                except BrokenPipeError:
                    pass
            return
        with os.fdopen(ours, "rb") as file:
            out.extend(file.read())

    thread = threading.Thread(target=other)
    thread.start()
    try:
        work(theirs)
    finally:
        os.close(theirs)
        thread.join()
    return bytes(out)


def taken(box, record, path, **options):
    """The archive of `path` as name → content or type."""
    data = through(lambda fd: box.engine.copy_out(box.group, record.id, path, fd, **options))
    return listed(data)


def listed(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            member.name: tar.extractfile(member).read() if member.isfile() else (member.type, member.linkname)
            for member in tar
        }


def put(box, record, path, data, **options):
    through(lambda fd: box.engine.copy_in(box.group, record.id, path, fd, **options), data)


@pytest.fixture(params=["running", "paused", "stopped", "created"])
def record(box, request):
    """A container in each state, with a volume at /data and a bind mount's file at /bound."""
    box.do(box.session.create_volume(VolumeSpec(name="tdata")))
    mounts = (Mount(type="volume", source="tdata", target="/data"),)
    script = "mkdir /made; echo text > /made/file; echo more > /data/file; ln -s made /link; ln -s /made/file /flink"
    if request.param == "created":
        record = box.create("true", mounts=mounts)
        put(
            box,
            record,
            "/",
            archive(made=None, **{"made/file": b"text\n", "link": ("l", "made"), "flink": ("l", "/made/file")}),
        )
        put(box, record, "/data", archive(file=b"more\n"))
        return record
    record = box.start("sh", "-c", f"{script}; touch /ready; exec sleep 1000", mounts=mounts)
    box.inside(record, "while ! [ -e /ready ]; do sleep 0.01; done")
    if request.param == "paused":
        box.do(box.session.pause(record.id))
    elif request.param == "stopped":
        box.do(box.session.stop(record.id))
    return record


def test_out(box, record):
    assert taken(box, record, "/made") == {"made": (tarfile.DIRTYPE, ""), "made/file": b"text\n"}
    assert taken(box, record, "made/file") == {"file": b"text\n"}
    assert taken(box, record, "/made/.") == {".": (tarfile.DIRTYPE, ""), "./file": b"text\n"}
    assert taken(box, record, "/data") == {"data": (tarfile.DIRTYPE, ""), "data/file": b"more\n"}
    assert taken(box, record, "/link") == {"link": (tarfile.SYMTYPE, "made")}
    assert taken(box, record, "/link", follow=True) == {"link": (tarfile.DIRTYPE, ""), "link/file": b"text\n"}
    assert taken(box, record, "/link/") == {"link": (tarfile.DIRTYPE, ""), "link/file": b"text\n"}
    assert taken(box, record, "/flink", follow=True) == {"flink": b"text\n"}
    assert taken(box, record, "/made/../link/file") == {"file": b"text\n"}
    with pytest.raises(NotFound, match="no such file or directory"):
        taken(box, record, "/none")
    with pytest.raises(InvalidSpec, match="is not a directory"):
        taken(box, record, "/made/file/")


def test_in(box, record):
    put(box, record, "/made", archive(sub=None, **{"sub/a": b"A"}))
    put(box, record, "/made/b", archive(other=b"B"))
    put(box, record, "/new", archive(dir=None, **{"dir/c": b"C"}))
    put(box, record, "/data", archive(v=b"V"))
    put(box, record, "/link/d", archive(d=b"D"))
    found = {**taken(box, record, "/made"), **taken(box, record, "/new"), **taken(box, record, "/data")}
    assert {name: content for name, content in found.items() if isinstance(content, bytes)} == {
        "made/file": b"text\n", "made/sub/a": b"A", "made/b": b"B", "made/d": b"D", "new/c": b"C",
        "data/file": b"more\n", "data/v": b"V",
    }  # fmt: skip
    with pytest.raises(NotFound, match="no such directory"):
        put(box, record, "/none/x", archive(x=b""))
    with pytest.raises(InvalidSpec, match="several entries"):
        put(box, record, "/none", archive(x=b"", y=b""))


def test_the_root_is_copied_without_system_folders(box, record):
    found = taken(box, record, "/")
    assert "./made/file" in found and "./data/file" in found and "./bin/busybox" in found
    assert not [name for name in found if name.startswith(("./proc/", "./sys/", "./dev/"))]


def test_export_has_nothing_that_is_mounted(box, record):
    data = through(lambda fd: box.engine.export(box.group, record.id, fd))
    found = listed(data)
    assert found["made/file"] == b"text\n" and "data" in found and "data/file" not in found
    assert not [name for name in found if name.startswith(("proc/", "sys/"))]


def test_a_stopped_container_sees_what_was_put_into_it(box):
    record = box.create("cat", "/config")
    put(box, record, "/config", archive(x=b"put\n"))
    box.do(box.session.start(record.id))
    assert box.wait(record) == 0
    assert box.log(record) == "put\n"


def test_owners(box):
    """As with Docker's copyUIDGID: the archive's, or the container's user."""
    for user, expected in (("", "1000:2000"), ("12:13", "12:13"), ("12", "12:0")):
        record = box.start(user=user)
        for name, as_user in (("plain", False), ("kept", True)):
            own = tarfile.TarInfo()
            own.uid, own.gid = 1000, 2000
            put(box, record, "/", archive(**{name: own}), as_user=as_user)
        assert box.inside(record, "stat -c %u:%g /plain /kept") == f"1000:2000\n{expected}"


def test_links_inside_lead_nowhere_else(box, tmp_path):
    """The class of CVE-2019-14271 and CVE-2021-30465: whatever a container prepares, it must not reach the host's
    files."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    record = box.start()
    box.inside(
        record, f"ln -s {secret} /s; ln -s {tmp_path} /d; ln -s /proc/1/root{tmp_path} /p; ln -s ../../../../.. /up"
    )
    for path in ("/s", "/d/secret", "/p/secret", f"/up{secret}"):
        with pytest.raises(EngineError):
            taken(box, record, path, follow=True)
    put(box, record, "/d", archive(x=b"x"))  # a dangling link is replaced like a file of that name
    put(box, record, "/", archive(s=b"mine"))
    for name in ("../out", "a/../../out"):
        with pytest.raises(Corrupt):
            put(box, record, "/", archive(**{name: b"x"}))
    hard = tarfile.TarInfo()
    hard.type, hard.linkname = tarfile.LNKTYPE, str(secret)
    with pytest.raises(Corrupt):
        put(box, record, "/", archive(h=hard))
    assert secret.read_text() == "secret" and sorted(os.listdir(tmp_path)) == ["secret"]


def test_links_swapped_meanwhile_lead_nowhere_else(box, tmp_path):
    """A container that swaps a directory and a link to the host's path as fast as it can."""
    (tmp_path / "x").write_text("host")
    script = (
        f"mkdir /t /u; ln -s {tmp_path} /l; touch /ready; while :; do mv /t /u/t; mv /l /t; mv /t /l; mv /u/t /t; done"
    )
    record = box.start("sh", "-c", script)
    box.inside(record, "while ! [ -e /ready ]; do sleep 0.01; done")
    for _ in range(100):
        try:
            put(box, record, "/t", archive(x=b"container"))
            assert b"host" not in taken(box, record, "/t", follow=True).values()
        except EngineError:
            pass
    assert (tmp_path / "x").read_text() == "host" and os.listdir(tmp_path) == ["x"]


def test_files_of_the_kernel_are_refused(box):
    record = box.start()
    with pytest.raises(InvalidSpec, match="is a kernel file without content"):
        taken(box, record, "/proc/uptime")


def test_a_read_only_root_is_not_written_to(box):
    record = box.start(read_only=True)
    with pytest.raises(EngineError, match="EROFS"):
        put(box, record, "/", archive(x=b"x"))
    box.do(box.session.stop(record.id))
    with pytest.raises(EngineError, match="EROFS"):
        put(box, record, "/", archive(x=b"x"))
