"""The result of a build, in one form for both builders: status, configuration, history, number of layers, and tree.

The tree has only what differs from the base image. An entry is one line: path, kind, mode, owner, time ("new" for one of
the build's own), and content, link target or device, extended attributes, and the first name of a hard link.
"""

import contextlib
import hashlib
import io
import json
import os
import stat
import tarfile
import time

from tests.parity.build.world import kind_of

_BORN = time.time() - 86400 * 30
_EMPTY = (None, "", [], {}, False, 0)
_XATTRS = ("security.capability", "user.")


def line(path, mode, owner, mtime, content, xattrs, first):
    when = "new" if mtime > _BORN else str(int(mtime))
    extra = "".join(f" {name}={value.hex()}" for name, value in sorted(xattrs.items()) if name.startswith(_XATTRS))
    linked = f" ={first}" if first else ""
    return f"{path} {kind_of(mode)} {stat.S_IMODE(mode):o} {owner[0]}:{owner[1]} {when} {content}{extra}{linked}"


def shown(data):
    text = data[:60].decode("latin-1").replace("\n", "\\n")
    return f"{len(data)} {text}" if len(data) <= 60 else f"{len(data)} {hashlib.sha256(data).hexdigest()[:16]}"


def config_of(config):
    """The part of the configuration that both builders have, without empty values."""
    left_out = ("ArgsEscaped", "Image", "Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr")
    return {name: value for name, value in sorted(config.items()) if value not in _EMPTY and name not in left_out}


def history_of(history):
    """The lines that the build added to those of the base."""
    return [("- " if one.get("empty_layer") else "+ ") + one.get("created_by", "") for one in history or ()
            if one.get("comment", "").startswith("buildkit")]  # fmt: skip


def answer(file, tree, base):
    """From the configuration blob and the whole tree; `base` is the base image's tree."""
    blob = json.loads(file)
    base = base if "bin/busybox" in tree else {}
    if tree.get(".", "").startswith(". d 755 0:0 "):
        del tree["."]  # an image does not record an unchanged root directory
    changed = [text for path, text in sorted(tree.items()) if not _same(base.get(path), text)]
    gone = sorted(path for path in base if path not in tree and path != ".")
    return {
        "status": 0,
        "config": config_of(blob.get("config") or {}),
        "author": blob.get("author", ""),
        "history": history_of(blob.get("history")),
        "layers": len(blob["rootfs"]["diff_ids"] or ()),
        "tree": changed + [f"- {path}" for path in gone],
    }


def _same(before, after):
    """Whether nothing changed. A directory in which an entry was created and removed again has only a new time."""
    if before is None or before == after:
        return before == after
    was, now = before.split(" "), after.split(" ")
    return now[1] == "d" and now[4] == "new" and was[:4] + was[5:] == now[:4] + now[5:]


def walk(root):
    """The tree below an open directory."""
    found, names, first = {}, {}, {}
    for folder, directories, files, here in os.fwalk(".", dir_fd=root):
        for name in (*(["."] if folder == "." else []), *directories, *files):
            path = os.path.normpath(f"{folder}/{name}")
            names[path] = os.stat(name, dir_fd=here, follow_symlinks=False)
    for path in sorted(names):
        status = names[path]
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW, dir_fd=root)
        try:
            place = f"/proc/self/fd/{handle}"
            content, xattrs, linked = "", {}, ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path, dir_fd=root)
            elif stat.S_ISREG(status.st_mode):
                with open(place, "rb") as file:
                    content = shown(file.read())
                if status.st_nlink > 1:
                    linked = first.setdefault((status.st_dev, status.st_ino), path)
                    linked = "" if linked == path else linked
            elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                content = f"{os.major(status.st_rdev)},{os.minor(status.st_rdev)}"
            if not stat.S_ISLNK(status.st_mode):
                with contextlib.suppress(OSError):
                    xattrs = {name: os.getxattr(place, name) for name in os.listxattr(place)}
        finally:
            os.close(handle)
        found[path] = line(
            path, status.st_mode, (status.st_uid, status.st_gid), status.st_mtime, content, xattrs, linked
        )
    return found


_KINDS = {tarfile.REGTYPE: stat.S_IFREG, tarfile.AREGTYPE: stat.S_IFREG, tarfile.DIRTYPE: stat.S_IFDIR,
          tarfile.SYMTYPE: stat.S_IFLNK, tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK,
          tarfile.FIFOTYPE: stat.S_IFIFO}  # fmt: skip


def apply_layers(layers):
    """The tree of layers given as tar archives."""
    entries = {}
    for number, data in enumerate(layers):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for info in tar:
                path = os.path.normpath(info.name.lstrip("/") or ".")
                folder, _, name = path.rpartition("/")
                if name == ".wh..wh..opq":
                    _drop(entries, folder, itself=False)
                elif name.startswith(".wh."):
                    _drop(entries, f"{folder}/{name[4:]}".lstrip("/"))
                else:
                    if path in entries and not (info.isdir() and entries[path][0].isdir()):
                        _drop(entries, path)
                    body = tar.extractfile(info).read() if info.isreg() else b""
                    entries[path] = (info, body, (number, path))
                    if info.islnk():
                        target = entries[os.path.normpath(info.linkname.lstrip("/"))]
                        entries[path] = target
    return _lines(entries)


def _drop(entries, path, *, itself=True):
    for name in [name for name in entries if name.startswith(f"{path}/") or (itself and name == path)]:
        del entries[name]


def _lines(entries):
    found, first = {}, {}
    for path in sorted(entries):
        info, body, origin = entries[path]
        linked = first.setdefault(origin, path)
        xattrs = {
            name.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape")
            for name, value in info.pax_headers.items()
            if name.startswith("SCHILY.xattr.")
        }
        content = info.linkname if info.issym() else ""
        if info.isreg():
            content = shown(body)
        elif info.ischr() or info.isblk():
            content = f"{info.devmajor},{info.devminor}"
        mode = _KINDS[info.type] | (0o777 if info.issym() else info.mode)
        found[path] = line(path, mode, (info.uid, info.gid), info.mtime, content, xattrs,
                           "" if linked == path else linked)  # fmt: skip
    return found
