"""From the fork to where the program could start, as operations of a script: the steps of engine/keeper/child/setup.py."""

from __future__ import annotations

import errno
import functools
import os
import socket
import stat
import struct

from engine.keeper.child import devices, dns, namespaces, rootfs
from engine.keeper.protocol import framed
from engine.keeper.script import places
from engine.keeper.script.script import ANY, CHANNEL, SCRIPT, Script, Unscripted
from engine.kernel import flags, idmap

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle, Device
    from engine.keeper.messages import Report


_F_SETFD, _FD_CLOEXEC = 2, 1
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_SCM_RIGHTS = 1
_JOIN_SESSION, _SET_PERMISSIONS, _PERMISSIONS = 1, 5, 0x3F1B0000
_NO_FOLLOW = 0x100
_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"}


def check(bundle: Bundle) -> None:
    """Raises Unscripted for what a script cannot do, or should not where others might look at it."""
    kinds, process = bundle["namespaces"], bundle["process"]
    if kinds.get("user", "host") != "host" or not idmap.initial():
        raise Unscripted("a user namespace")
    if kinds["pid"] != "new":
        raise Unscripted("processes that are there already")
    if kinds["mount"] != "new":
        raise Unscripted("another's mounts")
    if process["tty"] or process["init"] or process.get("oom_score_adj"):
        raise Unscripted("a terminal, an init, an OOM score")
    if not bundle["sysctls"].keys() <= _SYSCTLS:
        raise Unscripted("sysctls that may be wrong")
    if any(entry["type"] == "image" for entry in bundle["mounts"]):
        raise Unscripted("another image")


def begin(script: Script, bundle: Bundle) -> None:
    """What takes the process a while, in which the keeper can write down the rest: namespaces, for the most part."""
    call, kinds = script.call, bundle["namespaces"]
    call("prctl", flags.PR_SET_DUMPABLE, 0)
    call("fcntl", CHANNEL, _F_SETFD, _FD_CLOEXEC)
    call("close", SCRIPT)
    call("unshare", namespaces.bits(kinds) & ~flags.CLONE["pid"])
    for path in bundle["cgroup_procs"]:
        file = call("openat", flags.AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC, 0)
        call("write", file, b"0", 1)
        call("close", file)
    call("setsid")
    for kind, value in kinds.items():
        if value.startswith("/"):
            joined = call("openat", flags.AT_FDCWD, value, os.O_RDONLY | os.O_CLOEXEC, 0)
            call("setns", joined, flags.CLONE[kind])
            call("close", joined)
    if kinds.get("cgroup") == "new":
        call("unshare", flags.CLONE["cgroup"])
    ring = call("keyctl", _JOIN_SESSION, os.path.basename(bundle["run_folder"]), flags=ANY)
    call("keyctl", _SET_PERMISSIONS, ring, _PERMISSIONS, flags=ANY)
    _sockets(script, bundle)
    script.pause(CHANNEL)


def write(script: Script, bundle: Bundle) -> None:
    """All up to the pause in which the network is plugged in."""
    call, kinds = script.call, bundle["namespaces"]
    root = _parts(script, bundle)
    call("fchdir", root)
    call("pivot_root", ".", ".")
    call("umount2", ".", flags.MNT_DETACH)
    call("chdir", "/")
    call("close", root)
    _working_directory(script, bundle["process"]["cwd"])
    if not bundle["process"]["stdin"]:
        null = call("openat", flags.AT_FDCWD, "/dev/null", os.O_RDWR | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC, 0)
        _demand_null(script, null)
        call("dup3", null, 0, 0)
        call("close", null)
    if kinds.get("uts") == "new":
        name, domain = os.fsencode(bundle["hostname"]), os.fsencode(bundle.get("domainname") or "")
        call("sethostname", name, len(name))
        if domain:
            call("setdomainname", domain, len(domain))
    _sysctls(script, bundle["sysctls"])
    _read_only(script, bundle["read_only_paths"])
    _mask(script, bundle["masked_paths"])
    if bundle["rootfs"]["read_only"]:
        call("mount", 0, "/", 0, flags.MS["remount"] | flags.MS["bind"] | flags.MS["ro"], 0)
    _say(script, {"event": "ready"})
    script.pause(CHANNEL)


def _say(script: Script, message: Report, *descriptors: int) -> None:
    """A frame (engine/keeper/protocol.py)."""
    frame = framed(message, descriptors)
    vector = script.data(struct.pack("=QQ", script.data(frame), len(frame)))
    control = size = 0
    if descriptors:
        length = 16 + 4 * len(descriptors)
        size = (length + 7) & ~7
        control = script.data(struct.pack("=Qii", length, socket.SOL_SOCKET, _SCM_RIGHTS) + bytes(size - 16))
        for number, descriptor in enumerate(descriptors):
            script.store(control + 16 + 4 * number, descriptor)
    script.call("sendmsg", CHANNEL, struct.pack("=QQQQQQQ", 0, 0, vector, 1, control, size, 0), socket.MSG_NOSIGNAL)


def _sockets(script: Script, bundle: Bundle) -> None:
    """lo is up, and the sockets of the embedded DNS server; see engine/keeper/child/dns.py."""
    call = script.call
    if bundle["namespaces"].get("net") == "new":
        control = call("socket", socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        call("ioctl", control, _SIOCSIFFLAGS, struct.pack("=16sH22x", b"lo", _IFF_UP))
        call("close", control)
    if bundle.get("dns") is None:
        _say(script, {"event": "sockets"})
        return
    address = (
        struct.pack("=H", socket.AF_INET) + struct.pack(">H", bundle["dns"]) + socket.inet_aton(dns.ADDRESS) + bytes(8)
    )
    sockets = []
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        sock = call("socket", socket.AF_INET, kind | socket.SOCK_CLOEXEC, 0)
        call("setsockopt", sock, socket.SOL_SOCKET, socket.SO_REUSEADDR, struct.pack("=i", 1), 4)
        call("bind", sock, address, len(address))
        sockets.append(sock)
    call("listen", sockets[1], 16)
    _say(script, {"event": "sockets"}, *sockets)
    for sock in sockets:
        call("close", sock)


def _parts(script: Script, bundle: Bundle) -> int:
    """The root with all mounts on it, not moved into yet; see engine/keeper/child/rootfs.py."""
    call, parts = script.call, bundle["rootfs"]
    trees = {number: places.bind(script, e) for number, e in enumerate(bundle["mounts"]) if e["type"] == "bind"}
    call("mount", 0, "/", 0, flags.MS["rec"] | flags.MS["slave"], 0)
    for folder in dict.fromkeys((parts["upper"], parts["work"], parts["root"])):
        call("mkdirat", flags.AT_FDCWD, folder, 0o777, allowed=(errno.EEXIST, 0))
    trees |= places.files(script, bundle["mounts"], bundle["run_folder"])
    call("chdir", parts["layers_folder"])
    call("mount", "overlay", parts["root"], "overlay", 0, rootfs.options(parts))
    call("chdir", "/")
    root = call("open_tree", flags.AT_FDCWD, parts["root"], flags.OPEN_TREE_CLOEXEC)
    for number, entry in enumerate(bundle["mounts"]):
        places.attach(script, root, entry, trees.get(number, 0))
        if devices.is_place(entry):
            _devices(script, root, bundle["devices"])
    return root


def _devices(script: Script, root: int, wanted: list[Device]) -> None:
    call = script.call
    folder = places.inside(script, root, "/dev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    previous = call("umask", 0)
    for name, major, minor in devices.NODES:
        call("mknodat", folder, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for name, target in devices.LINKS:
        if name != "core" or _kind(target):
            call("symlinkat", target, folder, name)
    present = {name for name, *_ in (*devices.NODES, *devices.LINKS)}
    for device in wanted:
        if not device["path"].startswith("/dev/"):
            raise Unscripted("a device outside /dev")
        above, _, name = device["path"].removeprefix("/dev").rpartition("/")
        if not above and name in present:
            continue
        parent = places.directory(script, folder, above or "/")
        mode, number = devices.KINDS[device["kind"]] | device["mode"], os.makedev(device["major"], device["minor"])
        if number >> 32:
            raise Unscripted("a large number of a device")
        call("mknodat", parent, name, mode, number)
        if device["uid"] or device["gid"]:
            call("fchownat", parent, name, *places.owner(device["uid"], device["gid"]), _NO_FOLLOW)
        call("close", parent)
    call("umask", previous)
    call("close", folder)


def _working_directory(script: Script, path: str) -> None:
    """What cannot be made is told when the process changes to it."""
    parts = [part for part in path.split("/") if part]
    for end in range(1, len(parts) + 1):
        script.call("mkdirat", flags.AT_FDCWD, "/" + "/".join(parts[:end]), 0o777, flags=ANY)


def _sysctls(script: Script, wanted: dict[str, str]) -> None:
    call = script.call
    if not wanted:
        return
    proc = places.proc(script)
    for key, value in wanted.items():
        file = places.written(script, proc, f"sys/{key.replace('.', '/')}")
        call("write", file, value.encode(), len(value.encode()))
        call("close", file)
    call("close", proc)


def _read_only(script: Script, paths: list[str]) -> None:
    """See engine/keeper/child/sealing.py; here, too, what covers a path goes onto a descriptor."""
    for target, _ in _present(script, paths):
        bits = flags.OPEN_TREE_CLONE | flags.OPEN_TREE_CLOEXEC | flags.AT_RECURSIVE | flags.AT_EMPTY_PATH
        tree = script.call("open_tree", target, "", bits)
        places.attributes(script, tree, flags.MOUNT_ATTR["ro"], below=True)
        places.move(script, tree, target)
        script.call("close", tree)
        script.call("close", target)


def _mask(script: Script, paths: list[str]) -> None:
    call, null, empty = script.call, 0, 0
    bits = flags.OPEN_TREE_CLONE | flags.OPEN_TREE_CLOEXEC | flags.AT_EMPTY_PATH
    for target, folder in _present(script, paths):
        if folder and not empty:
            empty = places.filesystem(script, "tmpfs", "tmpfs", "size=0k,nr_inodes=2", ("ro",))
            places.move(script, empty, target)
        else:
            if not folder and not null:
                null = _null(script)
            tree = call("open_tree", empty if folder else null, "", bits)
            places.move(script, tree, target)
            call("close", tree)
        call("close", target)
    for descriptor in filter(None, (null, empty)):
        call("close", descriptor)


def _present(script: Script, paths: list[str]) -> list[tuple[int, bool]]:
    """What there is of these places of the kernel's, open, and whether each is a directory. The container's /proc and /sys
    have what the host's have; where they differ the script fails."""
    found = []
    root = script.call("openat", flags.AT_FDCWD, "/", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0)
    for path in paths:
        kind = _kind(path)
        if kind:
            found.append((places.inside(script, root, path, links=False), stat.S_ISDIR(kind)))
        else:
            places.missing(script, root, path)
    script.call("close", root)
    return found


@functools.cache
def _kind(path: str) -> int:
    """The type of what the host has there; 0 for nothing. Should that change, scripts fail and forks do."""
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _null(script: Script) -> int:
    """/dev/null, verified to be it."""
    null = script.call("openat", flags.AT_FDCWD, "/dev/null", flags.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, 0)
    _demand_null(script, null)
    return null


def _demand_null(script: Script, null: int) -> None:
    told = script.answer
    script.call("statx", null, "", flags.AT_EMPTY_PATH, 0x7FF, told)
    script.demand(told + 24, 0o170000 << 32, stat.S_IFCHR << 32)  # struct statx: stx_gid, stx_mode
    script.demand(told + 128, -1, 1 | 3 << 32)  # stx_rdev_major, stx_rdev_minor
