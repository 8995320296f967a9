"""Common to all parity cases: the context that they copy from, and their base image.

Both are the same bytes for both builders. Times are long past, so that a time taken from a source differs from a new
one."""

import gzip
import io
import os
import shutil
import stat
import struct
import tarfile

BASE = "parity/base:1"
LONG_AGO = 1_000_000_000
_APPLETS = (
    "sh ls cat echo mkdir touch rm ln cp id env sleep true false chmod chown stat pwd wc test sed tr sort find mv mkfifo "
    "printf head tee"
).split()
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0)


def base_tar():
    """A root file system with busybox, two users, and entries that a COPY can meet."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(name, kind=tarfile.DIRTYPE, mode=0o755, data=b"", link="", owner=0):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, len(data), link, LONG_AGO
            info.uid = info.gid = owner
            tar.addfile(info, io.BytesIO(data))

        for name in ("bin", "dev", "etc", "proc", "sys", "root", "home", "old", "old/sub", "real"):
            add(name)
        add("tmp", mode=0o1777)
        add("private", mode=0o700, owner=1000)
        with open(shutil.which("busybox"), "rb") as file:
            add("bin/busybox", tarfile.REGTYPE, 0o755, file.read())
        for applet in _APPLETS:
            add(f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
        add("etc/passwd", tarfile.REGTYPE, 0o644, b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home:/bin/sh\n")
        add("etc/group", tarfile.REGTYPE, 0o644, b"root:x:0:\nweb:x:1001:\nstaff:x:50:web\n")
        add("old/file", tarfile.REGTYPE, 0o640, b"old\n", owner=7)
        add("old/sub/x.txt", tarfile.REGTYPE, 0o600, b"old x\n", owner=7)
        add("tolink", tarfile.SYMTYPE, link="old/file")
        add("todir", tarfile.SYMTYPE, link="real")
        add("nowhere", tarfile.SYMTYPE, link="real/gone")
        add("old/up", tarfile.SYMTYPE, link="../real")
    return out.getvalue()


def _archive(names, owner=1000):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.mtime, info.uid, info.gid, info.mode = LONG_AGO, owner, owner, 0o640
            data = b"" if name.endswith("/") else name.encode()
            info.size = len(data)
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o750
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def write_context(root):
    """The files that a case can copy. Returns nothing; `root` is a new directory."""
    tar = _archive(["in/", "in/one", "in/two", "three"])
    files = {
        "a.txt": (b"a\n", 0o644), "b.txt": (b"b\n", 0o600), "run.sh": (b"#!/bin/sh\necho hi\n", 0o755), "empty": (b"", 0o644),
        "d/x.txt": (b"x\n", 0o640), "d/y.md": (b"y\n", 0o644), "d/sub/z.txt": (b"z\n", 0o644),
        "d/sub/deep/w.txt": (b"w\n", 0o444), "sp ace.txt": (b"space\n", 0o644), "br[1].txt": (b"br\n", 0o644),
        "h1": (b"hard\n", 0o644), "pkg/p/package.json": (b"{}", 0o644), "pkg/q/package.json": (b"[]", 0o644),
        "pkg/q/src/m.js": (b"m\n", 0o644), "pkg/yarn.lock": (b"l\n", 0o644), "suid": (b"s\n", 0o4755), "t.tar": (tar, 0o644),
        "t.tgz": (gzip.compress(tar, mtime=0), 0o600), "text.gz": (gzip.compress(b"text\n", mtime=0), 0o644),
        "cap": (b"#!cap\n", 0o755), "x1/f": (b"1", 0o644), "x2/f": (b"2", 0o644), "x1/only1": (b"o", 0o644),
    }  # fmt: skip
    for name, (data, mode) in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        place.chmod(mode)
    os.setxattr(root / "cap", "security.capability", _CAPABILITY)
    os.link(root / "h1", root / "h2")
    for link, target in {
        "link": "a.txt",
        "dlink": "d",
        "dangling": "gone",
        "d/out": "../a.txt",
        "d/abs": "/etc",
    }.items():
        (root / link).symlink_to(target)
    (root / "hollow").mkdir()
    for name, mode in {"d": 0o750, "d/sub": 0o711, "hollow": 0o1777, "pkg": 0o700, "x1": 0o755}.items():
        (root / name).chmod(mode)
    age(root)


def age(root):
    """Set a time in the past on everything below `root`, the deepest first."""
    for number, (folder, names, entries) in enumerate(sorted(os.walk(root, topdown=False))[::-1]):
        for name in sorted(names + entries):
            when = LONG_AGO + 10 * number + len(name)
            os.utime(os.path.join(folder, name), (when, when), follow_symlinks=False)
    os.utime(root, (LONG_AGO, LONG_AGO))


def kind_of(mode):
    return {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b",
            stat.S_IFIFO: "p", stat.S_IFSOCK: "s"}[stat.S_IFMT(mode)]  # fmt: skip
