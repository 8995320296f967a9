import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import tarfile

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import Corrupt, EngineError
from engine.filetree.remove import remove_at
from engine.image.layer import overlay
from engine.image.layer.compression import Limits, chunks
from engine.image.layer.unpack import unpack


@pytest.fixture
def extract(tmp_path):
    root = tmp_path / "inner/root"
    root.mkdir(parents=True)

    def run(data, **options):
        fd = os.open(root, os.O_RDONLY)
        try:
            unpack(chunks(io.BytesIO(data), "layer", options.get("limits")), fd, "layer", **options)
        finally:
            os.close(fd)
        return root

    return run


def outside(tmp_path):
    """Everything outside the root: hostile archives must not change it."""
    return sorted(str(path) for path in tmp_path.rglob("*") if "/inner/root/" not in str(path))


def test_parents_that_an_archive_does_not_name_are_made_at_any_depth(extract, tar):
    depth = 3000
    root = extract(tar(format=tarfile.PAX_FORMAT).add("d/" * depth + "file", b"x").bytes())
    try:
        found = subprocess.run(["find", root, "-printf", "%d %f %s\n"], stdout=subprocess.PIPE, text=True, check=True)
        assert found.stdout.splitlines()[-1] == f"{depth + 1} file 1"
    finally:
        subprocess.run(["rm", "-rf", root], check=True)  # pytest cannot remove it


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_long_name_whose_first_100_bytes_end_with_a_slash_is_a_file(extract, tar, format):
    name = "n" * 99 + "/" + "m" * 80
    root = extract(tar(format=format).add(name, b"content").add("old/", b"").bytes())
    assert (root / name).read_bytes() == b"content"
    assert (root / "old").is_dir()


def test_a_whiteout_below_a_whiteout_adds_nothing(extract, tar):
    root = extract(tar().add(".wh.d").add("d/.wh.a").add("e").add("e/.wh.b").add("end", b"x").bytes())
    assert overlay.is_whiteout((root / "d").lstat())
    assert sorted(os.listdir(root)) == ["d", "e", "end"]


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ((".wh.d", "d/b"), ["d opaque", "d/b"]),
        ((".wh.d", "d/e/f/b"), ["d opaque", "d/e", "d/e/f", "d/e/f/b"]),
        (("d/.wh.a", ".wh.d"), ["d whiteout"]),
        (("d/e/.wh.a", "d/.wh.e", ".wh.d"), ["d whiteout"]),
        (("d/e/.wh.a", ".wh.d"), ["d whiteout"]),
        (("d/e/.wh.a", ".wh.d", "d/b"), ["d opaque", "d/b"]),
        (("d/e/b", ".wh.d", "d/.wh.e"), ["d opaque", "d/e opaque", "d/e/b"]),
        (("d/", "d/.wh.a", ".wh.d"), ["d opaque", "d/a whiteout"]),
        (("d/.wh.a", "d/", ".wh.d"), ["d opaque", "d/a whiteout"]),
        (("d/.wh..wh..opq", ".wh.d"), ["d whiteout"]),
    ],
)
def test_whiteout_before_or_after_files_of_its_directory(extract, tar, names, left):
    """The order does not matter: whiteouts hide the layers below, and never this layer's own files."""
    archive = tar()
    for name in names:
        archive = archive.dir(name.rstrip("/")) if name.endswith("/") else archive.add(name, b"")
    root = extract(archive.bytes())
    found = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        opaque = stat.S_ISDIR(status.st_mode) and overlay.is_opaque(os.listxattr(path))
        form = " whiteout" if overlay.is_whiteout(status) else " opaque" if opaque else ""
        found.append(f"{path.relative_to(root)}{form}")
    assert found == left


def test_files_of_every_kind(extract, tar):
    data = (
        tar(format=tarfile.PAX_FORMAT)
        .dir("d", mode=0o1777, mtime=1_000_000_000)
        .add("d/file", b"hello", mode=0o4750, uid=1234, gid=70_000, mtime=1_500_000_000.25)
        .link("d/link", "../elsewhere")
        .hard("hard", "d/file")
        .add("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
        .add("disk", kind=tarfile.BLKTYPE, devmajor=7, devminor=1)
        .add("fifo", kind=tarfile.FIFOTYPE)
        .add("missing/parents/file", b"x")
        .bytes()
    )
    root = extract(data)
    file = (root / "d/file").stat()
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_gid) == (0o4750, 1234, 70_000)
    assert file.st_mtime_ns == 1_500_000_000_250_000_000
    assert (root / "d").stat().st_mtime == 1_000_000_000
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o1777
    assert os.readlink(root / "d/link") == "../elsewhere"
    assert (root / "hard").stat().st_ino == file.st_ino
    assert (root / "null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISBLK((root / "disk").stat().st_mode)
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)
    assert stat.S_IMODE((root / "missing/parents").stat().st_mode) == 0o755


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(extract, tar, form):
    limit = 60 if form == tarfile.USTAR_FORMAT else 250
    name = "/".join(["directory" * 4] * 3 + ["n" * limit])
    writer = tar(format=form).add(name, b"x")
    if form != tarfile.USTAR_FORMAT:
        writer.link("link", "t" * 300)
    root = extract(writer.bytes())
    assert (root / name).read_bytes() == b"x"
    if form != tarfile.USTAR_FORMAT:
        assert os.readlink(root / "link") == "t" * 300


def test_names_in_any_encoding(extract, tar):
    data = (
        tar(format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape").add("caf\udce9", b"x").add("é", b"y")
    )
    root = extract(data.bytes())
    assert sorted(os.listdir(os.fsencode(root))) == [b"caf\xe9", "é".encode()]


@pytest.mark.parametrize(
    "form", ["gnu", "pax --sparse-version=0.0", "pax --sparse-version=0.1", "pax --sparse-version=1.0"]
)
def test_sparse_files(extract, tmp_path, form):
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "sparse", "wb") as file:
        for offset in range(0, 60 << 20, 2 << 20):
            file.seek(offset)
            file.write(b"data at %d" % offset)
        file.truncate(100 << 20)
    data = subprocess.run(
        ["tar", "-C", source, f"--format={form.split()[0]}", *form.split()[1:], "-S", "-cf", "-", "."],
        check=True,
        capture_output=True,
    ).stdout
    assert len(data) < 5 << 20
    root = extract(data)
    assert (root / "sparse").stat().st_blocks * 512 < 5 << 20
    subprocess.run(["cmp", source / "sparse", root / "sparse"], check=True)


def test_extended_attributes(extract, tar):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    records = {
        "SCHILY.xattr.user.note": "hello",
        "SCHILY.xattr.security.capability": capability.decode("latin-1"),
        "SCHILY.xattr.trusted.overlay.redirect": "/../../etc",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "system_u:object_r:etc_t:s0",
    }
    root = extract(tar(format=tarfile.PAX_FORMAT).add("file", b"x", pax_headers=records).bytes())
    found = set(os.listxattr(root / "file")) - {"security.selinux"}
    assert found == {"user.note", "security.capability"}
    assert os.getxattr(root / "file", "user.note") == b"hello"
    assert os.getxattr(root / "file", "security.capability")[:8] == capability[:8]


def test_whiteouts_take_overlay_form(extract, tar):
    data = (
        tar()
        .dir("d")
        .add("d/.wh.gone")
        .add("d/.wh..wh..opq")
        .add("both", b"kept")
        .add(".wh.both")
        .dir("dir")
        .add("dir/x")
        .add(".wh.dir")
        .add(".wh.later")
        .dir("later")
        .add("later/new")
        .add(".wh..wh.plnk/1.2")
        .add(".wh..wh.aufs")
        .bytes()
    )
    root = extract(data)
    assert overlay.is_whiteout((root / "d/gone").lstat())
    opaque = overlay.xattr_prefix() + "opaque"
    assert os.getxattr(root / "d", opaque) == b"y"
    assert (root / "both").read_bytes() == b"kept"
    assert os.getxattr(root / "dir", opaque) == b"y"
    assert os.getxattr(root / "later", opaque) == b"y"
    assert not list(root.rglob(".wh.*"))


def test_an_added_archive_has_no_whiteouts(extract, tar):
    root = extract(tar().add(".wh.x", b"text").bytes(), layer=False, below="/srv", owner=(5, 6))
    assert (root / "srv/.wh.x").read_bytes() == b"text"
    assert ((root / "srv/.wh.x").stat().st_uid, (root / "srv").stat().st_gid) == (5, 6)


def test_later_entries_replace_earlier_ones(extract, tar):
    data = (
        tar()
        .add("a", b"1")
        .add("a", b"2")
        .dir("b")
        .add("b/x")
        .link("b", "a")
        .add("c", b"1")
        .dir("c")
        .add("c/x", b"3")
        .link("e", "nowhere")
        .add("e", b"4")
        .bytes()
    )
    root = extract(data)
    assert (root / "a").read_bytes() == b"2"
    assert os.readlink(root / "b") == "a"
    assert (root / "c/x").read_bytes() == b"3"
    assert (root / "e").read_bytes() == b"4"
    assert not (root / "e").is_symlink()


@pytest.mark.parametrize(
    "attack",
    [
        lambda t: t.add("../../escape", b"x"),
        lambda t: t.add("a/../../../escape", b"x"),
        lambda t: t.link("up", "../..").add("up/escape", b"x"),
        lambda t: t.link("etc", "/etc").add("etc/composer-escape", b"x"),
        lambda t: t.link("a", "b").link("b", "../../..").add("a/escape", b"x"),
        lambda t: t.dir("d").add("d/f").link("d", "../..").add("d/escape", b"x"),
        lambda t: t.hard("passwd", "../../../../../../etc/passwd"),
        lambda t: t.link("l", "/etc").hard("passwd", "l/passwd"),
        lambda t: t.hard("passwd", "/etc/passwd"),
        lambda t: t.link("l", "/etc/passwd").hard("h", "l").add("h", b"overwritten"),
        lambda t: t.link("l", "../../victim").add("l", b"overwritten"),
        lambda t: t.link("d", "../..").dir("d", mode=0o777),
        lambda t: t.link("w", "../..").add("w/.wh.victim"),
        lambda t: t.add(".wh..", b""),
        lambda t: t.add(".wh.", b""),
        lambda t: t.add("proc/../../escape", b"x"),
        lambda t: t.link("p", "/proc/self/root").add("p/tmp/composer-escape", b"x"),
    ],
)
def test_hostile_archives_change_nothing_outside(extract, tar, tmp_path, attack):
    victim = tmp_path / "inner/victim"
    (tmp_path / "inner").mkdir(exist_ok=True)
    victim.write_text("untouched")
    passwd = os.stat("/etc/passwd")
    before = outside(tmp_path), os.stat(tmp_path / "inner").st_mode
    try:
        extract(attack(tar()).bytes())
    except EngineError:
        pass
    assert (outside(tmp_path), os.stat(tmp_path / "inner").st_mode) == before
    assert victim.read_text() == "untouched"
    after = os.stat("/etc/passwd")
    assert (after.st_nlink, after.st_mtime_ns, after.st_size) == (passwd.st_nlink, passwd.st_mtime_ns, passwd.st_size)
    assert not os.path.exists("/etc/composer-escape")
    assert not os.path.exists("/tmp/composer-escape")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_compressions(extract, tar, pack):
    assert (extract(pack(tar().add("a", b"x" * 5_000_000).bytes())) / "a").stat().st_size == 5_000_000


def test_several_members_are_one_stream(extract, tar):
    data = tar().add("a", os.urandom(100_000)).bytes()
    packed = b"".join(gzip.compress(data[start : start + 10_000]) for start in range(0, len(data), 10_000))
    assert (extract(packed + bytes(512)) / "a").stat().st_size == 100_000


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress, bytes])
def test_truncated_streams_are_refused(extract, tar, pack):
    data = pack(tar().add("a", os.urandom(300_000)).bytes())
    with pytest.raises(Corrupt):
        extract(data[: len(data) // 2])


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_bombs_are_refused_early(extract, tar, pack, tmp_path):
    data = pack(tar().add("zeros", bytes(64 << 20)).bytes())
    with pytest.raises(Corrupt, match="decompression bomb"):
        extract(data, limits=Limits(max_ratio=50, free_bytes=1 << 20))
    assert sum(path.stat().st_size for path in tmp_path.rglob("zeros")) <= 16 << 20


def test_floods_of_entries_are_refused(extract, tar):
    writer = tar()
    for number in range(50):
        writer.add(f"f{number}")
    with pytest.raises(Corrupt, match="more than 20 entries"):
        extract(writer.bytes(), limits=Limits(max_entries=20))


def header(**changes):
    info = tarfile.TarInfo("file")
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for at, value in changes.values():
        data[at : at + len(value)] = value
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + sum(data[156:]) + 256)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"not a tar" * 100,
        header()[:300],
        header()[:148] + b"0000000\0" + header()[156:],
        header(size=(124, b"99999999999\0")),
        header(size=(124, b"77777777777\0")),
        header(uid=(108, b"\xff" * 8)),
        header(uid=(108, b"\x80\xff\xff\xff\xff\xff\xff\xff")),
        header(mtime=(136, b"\x80" + b"\xff" * 11)),
        header(kind=(156, b"x"), size=(124, b"00000000005\0")) + b"99 a=".ljust(512, b"\0"),
        header(kind=(156, b"x"), size=(124, b"77777777777\0")),
        header(kind=(156, b"L"), size=(124, b"00007777777\0")),
        header(kind=(156, b"S"), size=(124, b"00000000000\0"), more=(482, b"\1")),
        header(kind=(156, b"3"), major=(329, b"7777777\0"), minor=(337, b"\x80\xff\xff\xff\xff\xff\xff\xff")),
        header(kind=(156, b"M")),
        header(kind=(156, b"g"), size=(124, b"00000000000\0")) * 40,
    ],
)
def test_malformed_archives_are_refused(extract, data):
    with pytest.raises(EngineError):
        extract(data)


def test_an_empty_archive_is_an_empty_layer(extract):
    assert os.listdir(extract(bytes(1024))) == []
    assert os.listdir(extract(b"")) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), max_size=6), st.integers(0, 3))
def test_damaged_archives_are_read_or_refused(tmp_path, tar, changes, cut):
    """Whichever bytes change, the archive is extracted inside the root or fails with one of our errors."""
    data = bytearray(
        tar(format=tarfile.PAX_FORMAT)
        .dir("d")
        .add("d/file", b"hello", pax_headers={"SCHILY.xattr.user.a": "b", "mtime": "1.5"})
        .link("d/link", "../x")
        .hard("hard", "d/file")
        .add("d/.wh.gone")
        .bytes()
    )
    for at, value in changes:
        data[at % len(data)] = value
    data = data[: len(data) - cut * 700]
    root = tmp_path / "inner/root"
    root.mkdir(parents=True)
    before = outside(tmp_path)
    fd = os.open(root, os.O_RDONLY)
    try:
        unpack(chunks(io.BytesIO(bytes(data)), "layer"), fd, "layer")
    except EngineError:
        pass
    finally:
        os.close(fd)
        assert outside(tmp_path) == before
        parent = os.open(tmp_path, os.O_RDONLY)
        remove_at(parent, "inner")
        os.close(parent)
