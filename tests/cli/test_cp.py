"""cp between a container (here: a folder) and the local file system."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest

from composer.cli.commands.cp import piped, placed, split
from composer.cli.errors import CommandError
from engine.container.copy_local import pack_local, unpack_local
from engine.errors import Corrupt, InvalidSpec


def tree(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "from/conf"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_text("a")
    (folder / "sub/b").write_text("b")
    os.link(folder / "a", folder / "hard")
    return folder


def unpack(fd: int, source: str, target: str, **how: bool) -> list[str]:
    return unpack_local(fd, *placed(source, target), **how)


def copy(source: str, target: str) -> None:
    label = "." if source.endswith("/.") else os.path.basename(source)
    piped(lambda fd: pack_local(source, label, fd), lambda fd: unpack(fd, source, target))


def test_a_folder_into_an_existing_one(source: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    copy(str(source), str(tmp_path / "to"))
    assert tree(tmp_path / "to") == {"conf/a": "a", "conf/hard": "a", "conf/sub/b": "b"}
    assert (tmp_path / "to/conf/a").stat().st_nlink == 2


def test_a_folder_under_a_new_name(source: Path, tmp_path: Path) -> None:
    copy(str(source), str(tmp_path / "new"))
    assert tree(tmp_path / "new") == {"a": "a", "hard": "a", "sub/b": "b"}


def test_the_content_of_a_folder(source: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    copy(f"{source}/.", str(tmp_path / "to"))
    assert tree(tmp_path / "to") == {"a": "a", "hard": "a", "sub/b": "b"}


def test_a_file_into_a_folder_and_under_a_new_name(source: Path, tmp_path: Path) -> None:
    copy(f"{source}/a", str(tmp_path))
    copy(f"{source}/a", str(tmp_path / "renamed"))
    assert (tmp_path / "a").read_text() == (tmp_path / "renamed").read_text() == "a"
    with pytest.raises(CommandError, match="no such directory"):
        copy(f"{source}/a", str(tmp_path / "no/such"))
    with pytest.raises(CommandError, match="no such directory"):
        copy(f"{source}/a", f"{tmp_path}/nothing/")


@pytest.mark.parametrize("name", ["x/../../escaped", "/etc/escaped"])
def test_an_archive_cannot_leave_the_target(tmp_path: Path, name: str) -> None:
    """Archives from a container are not trusted: `..` and absolute names stay inside or are refused."""
    (tmp_path / "to").mkdir()

    def produce(fd: int) -> None:
        with os.fdopen(os.dup(fd), "wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
            archive.addfile(tarfile.TarInfo(name))

    try:
        piped(produce, lambda fd: unpack(fd, "x", str(tmp_path / "to")))
    except Corrupt as error:
        assert "points outside" in str(error)
    assert not (tmp_path / "escaped").exists() and not Path("/etc/escaped").exists()


def test_a_symbolic_link_in_the_archive_does_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "victim").mkdir()

    def produce(fd: int) -> None:
        with os.fdopen(os.dup(fd), "wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
            folder = tarfile.TarInfo("x")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
            link = tarfile.TarInfo("x/link")
            link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "victim")
            archive.addfile(link)
            archive.addfile(tarfile.TarInfo("x/link/planted"))

    piped(produce, lambda fd: unpack(fd, "x", str(tmp_path / "to")))
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_hard_link_in_the_archive_does_not_lead_out(tmp_path: Path) -> None:
    """A second entry of the same name would write through the link that is the first."""
    (tmp_path / "to").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("untouched")

    def produce(fd: int) -> None:
        with os.fdopen(os.dup(fd), "wb") as file, tarfile.open(fileobj=file, mode="w|") as archive:
            link = tarfile.TarInfo("x")
            link.type, link.linkname = tarfile.LNKTYPE, "x/../../victim"
            archive.addfile(link)
            archive.addfile(tarfile.TarInfo("x"))

    with pytest.raises(Corrupt, match="points outside"):
        piped(produce, lambda fd: unpack(fd, "x", str(tmp_path / "to")))
    assert victim.read_text() == "untouched"


def test_directory_and_file_do_not_replace_each_other(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InvalidSpec, match="cannot copy directory"):
        copy(str(source), str(tmp_path / "file"))
    (tmp_path / "a").mkdir()
    with pytest.raises(InvalidSpec, match="cannot copy file"):
        copy(f"{source}/a", str(tmp_path))
    assert (tmp_path / "file").read_text() == "kept" and (tmp_path / "a").is_dir()


@pytest.mark.root
@pytest.mark.parametrize("archive", [False, True])
def test_devices_owners_and_setuid_bits_need_archive(tmp_path: Path, archive: bool) -> None:
    source = tmp_path / "x"
    source.mkdir()
    (source / "suid").write_text("program")
    os.chown(source / "suid", 1500, 1501)
    os.chmod(source / "suid", 0o4777)
    os.setxattr(source / "suid", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.mknod(source / "disk", stat.S_IFBLK | 0o666, os.makedev(1, 0))
    os.mknod(source / "mem", stat.S_IFCHR | 0o666, os.makedev(1, 1))
    os.mkfifo(source / "fifo")
    (source / "link").symlink_to("/etc")
    (tmp_path / "to").mkdir()
    before, left_out = os.umask(0o027), []
    try:
        piped(
            lambda fd: pack_local(str(source), "x", fd),
            lambda fd: left_out.extend(unpack(fd, "x", str(tmp_path / "to"), archive=archive)),
        )
    finally:
        os.umask(before)
    made = tmp_path / "to/x"
    status = (made / "suid").stat()
    assert (status.st_uid, status.st_gid) == ((1500, 1501) if archive else (os.geteuid(), os.getegid()))
    assert stat.S_IMODE(status.st_mode) == (0o4777 if archive else 0o777)
    assert bool(os.listxattr(made / "suid")) is archive
    assert sorted(left_out) == ([] if archive else ["x/disk", "x/mem"])
    assert (made / "disk").exists() is archive
    assert stat.S_ISFIFO((made / "fifo").lstat().st_mode) and os.readlink(made / "link") == "/etc"


@pytest.mark.parametrize(
    ("source", "into", "expected"),
    [
        ("/", True, {"": "", "a/b": "a/b"}),
        ("/", False, {"": "new", "a/b": "new/a/b"}),
        ("/x/.", True, {"": "", "a": "a"}),
        ("/x/.", False, {"": "new", "a": "new/a"}),
        ("/x", True, {"x": "x", "x/a": "x/a"}),
        ("/x/", False, {"x": "new", "x/a/b": "new/a/b"}),
        ("/x/..", True, {"": "", "a": "a"}),
    ],
)
def test_names(tmp_path: Path, source: str, into: bool, expected: dict[str, str]) -> None:
    _, rename = placed(source, str(tmp_path if into else tmp_path / "new"))
    assert {name: rename(name) for name in expected} == expected


def test_error_of_the_producer_wins() -> None:
    def fail(fd: int) -> None:
        raise CommandError("no such path in the container")

    def consume(fd: int) -> None:
        os.read(fd, 1)
        raise ValueError("truncated archive")

    with pytest.raises(CommandError, match="no such path"):
        piped(fail, consume)


def test_arguments() -> None:
    assert split("web:/etc/x") == ("web", "/etc/x")
    assert split("./web:x") == ("", "./web:x") and split("/a:b") == ("", "/a:b") and split("-") == ("", "-")
    assert split("plain") == ("", "plain")
