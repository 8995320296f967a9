"""The mounts of a bundle: those of every container, then the specification's, parents before children."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from engine.errors import InvalidSpec, OperationFailed
from engine.image.layer import overlay
from engine.kernel import calls, flags, idmap
from engine.spec.container import ContainerSpec, Mount
from engine.vocabulary import DEFAULT_SHM_SIZE

if TYPE_CHECKING:
    from engine.container.bundle import Facts
    from engine.keeper.bundle import Entry


class Sources(Struct, kw_only=True):
    """Sources of mounts: the container's folder, volume name → folder, image id → folders of layers."""

    folder: str
    volumes: Mapping[str, str]
    images: Mapping[str, Sequence[str]]


_PROPAGATES = {"shared": ("shared:",), "slave": ("shared:", "master:")}
_PEERS = {"shared:": "shared", "master:": "slave"}
_TMPFS_FLAGS = {"nosuid", "nodev", "noexec", "ro", "noatime", "nodiratime", "relatime", "strictatime"}
_CANCELS = {"suid": "nosuid", "dev": "nodev", "exec": "noexec", "rw": "ro"}
_BIND_FLAGS = {"ro", "nosuid", "nodev", "noexec", "nodiratime", "nosymfollow"}
_BIND_CANCELS = {**_CANCELS, "diratime": "nodiratime", "symfollow": "nosymfollow"}
_BIND_ATIMES = {"noatime": "noatime", "strictatime": "strictatime", "relatime": "", "atime": "", "norelatime": "",
                "nostrictatime": ""}  # fmt: skip
BIND_OPTIONS = {*_BIND_FLAGS, *_BIND_CANCELS, *_BIND_ATIMES}
"""The options of mount(8) that apply to one mount and not to its file system."""


def entries(spec: ContainerSpec, facts: Facts, spaces: Mapping[str, str]) -> list[Entry]:
    """In the order in which they are mounted: parents first, ours before the specification's."""
    own = [_entry(mount, facts, number) for number, mount in enumerate(spec.mounts)]
    taken = {entry["target"] for entry in own}
    always = [entry for entry in _defaults(spec, facts, spaces) if entry["target"] not in taken]
    return sorted([*always, *own], key=_order)


def _defaults(spec: ContainerSpec, facts: Facts, spaces: Mapping[str, str]) -> list[Entry]:
    safe = ["nosuid", "nodev", "noexec"]
    system = safe if spec.privileged else [*safe, "ro"]
    found: list[Entry] = [
        _proc(spaces, safe),
        {"type": "tmpfs", "target": "/dev", "flags": ["nosuid", "strictatime"], "data": "mode=755,size=65536k"},
        {
            "type": "devpts",
            "target": "/dev/pts",
            "flags": ["nosuid", "noexec"],
            "data": "newinstance,ptmxmode=0666,mode=0620,gid=5",
        },
    ]
    found.append(_sys(spaces, system))
    found += _cgroup(facts, spaces, system)
    found += _ipc(spec, spaces, safe)
    # In memory: each file on disk would make a start up to a millisecond slower.
    for name, text in facts.names.items():
        ours: Entry = {"type": "file", "target": f"/etc/{name}", "content": text, "mode": 0o644}
        found.append({**ours, "read_only": spec.read_only})
    return found


def _proc(spaces: Mapping[str, str], safe: list[str]) -> Entry:
    if spaces["pid"] != "host" or idmap.initial():
        return {"type": "proc", "target": "/proc", "flags": safe}
    # An ordinary user may not mount procfs for a pid namespace of root's.
    return {"type": "bind", "source": "/proc", "target": "/proc", "flags": safe, "recursive": True, "idmap": "no"}


def _sys(spaces: Mapping[str, str], system: list[str]) -> Entry:
    if spaces["net"] != "host":
        return {"type": "sysfs", "target": "/sys", "flags": system}
    # sysfs belongs to the network namespace: a bind of the host's is the one that fits. A user namespace may not uncover what
    # is below the host's other mounts, and so must take them along.
    whole = not idmap.initial()
    return {"type": "bind", "source": "/sys", "target": "/sys", "flags": system, "recursive": whole, "idmap": "no"}


def _ipc(spec: ContainerSpec, spaces: Mapping[str, str], safe: list[str]) -> list[Entry]:
    """Shared memory and message queues, which belong to the IPC namespace."""
    found: list[Entry] = []
    if spaces["ipc"] == "new" and spec.ipc_mode == "none":
        found.append({"type": "mqueue", "target": "/dev/mqueue", "flags": safe})
    elif spaces["ipc"] == "new":
        size = spec.shm_size or DEFAULT_SHM_SIZE
        found.append(
            {"type": "tmpfs", "source": "shm", "target": "/dev/shm", "flags": safe, "data": f"mode=1777,size={size}"}
        )
        found.append({"type": "mqueue", "target": "/dev/mqueue", "flags": safe})
    else:
        # The host's queues, or those of the container whose IPC namespace is joined.
        joined = "" if spaces["ipc"] == "host" else spaces["ipc"].removesuffix("ipc") + "mnt"
        for path in ("/dev/shm", "/dev/mqueue"):
            if joined or os.path.isdir(path):
                found.append({"type": "bind", "source": path, "target": path, "idmap": "no", "of": joined})
            elif path == "/dev/mqueue" and idmap.initial():  # the host has queues but has not mounted them
                found.append({"type": "mqueue", "target": path, "flags": safe})
    return found


def _cgroup(facts: Facts, spaces: Mapping[str, str], system: list[str]) -> list[Entry]:
    if facts.unified:
        return [{"type": "cgroup2", "source": "cgroup", "target": "/sys/fs/cgroup", "flags": system}]
    found: list[Entry] = [
        {
            "type": "tmpfs",
            "target": "/sys/fs/cgroup",
            "flags": ["nosuid", "nodev", "noexec"],
            "data": "mode=755,size=64k",
        }
    ]
    for controller, folder in facts.cgroup_folders.items():
        target = f"/sys/fs/cgroup/{controller}"
        found.append({"type": "bind", "source": folder, "target": target, "flags": system, "idmap": "no"})
    found.append({"type": "attributes", "target": "/sys/fs/cgroup", "flags": [f for f in system if f == "ro"]})
    return found


def stored(spec: ContainerSpec, sources: Sources) -> list[Entry]:
    """The specification's mounts whose content persists while the container is stopped, parents first."""
    kept = [
        _entry(mount, sources, number)
        for number, mount in enumerate(spec.mounts)
        if mount.type in ("volume", "image") or (mount.type == "bind" and os.path.exists(mount.source))
    ]
    return sorted(kept, key=_depth)


def _depth(entry: Entry) -> int:
    depth: int = entry["target"].count("/")
    return depth


def _order(entry: Entry) -> tuple[bool, int]:
    return entry["type"] == "attributes", _depth(entry)


def _entry(mount: Mount, facts: Sources, number: int) -> Entry:
    target = os.path.normpath(mount.target)
    if mount.type == "bind":
        return _bind(mount, target)
    if mount.type == "volume":
        return _volume(mount, target, facts.volumes[mount.source])
    if mount.type == "tmpfs":
        return tmpfs(mount)
    if mount.type == "image":
        return {
            "type": "image",
            "target": target,
            "image": mount.source,
            "layers": list(facts.images[mount.source]),
            "subpath": mount.subpath,
            "staging": f"{facts.folder}/image{number}",
            "features": overlay.features(),
        }
    return _file(mount, target)


def _bind(mount: Mount, target: str) -> Entry:
    source = _bind_source(mount)
    chosen, cleared = _bind_flags(mount)
    return {
        "type": "bind",
        "target": target,
        "source": source,
        "folder": os.path.isdir(source),
        "flags": chosen,
        "cleared": cleared,
        "propagation": mount.propagation,
        "recursive": mount.recursive != "disabled",
        "writable_below": mount.recursive == "writable",
    }


def _volume(mount: Mount, target: str, source: str) -> Entry:
    if mount.subpath:
        _check_subpath(source, mount.subpath)
    return {
        "type": "bind",
        "target": target,
        "source": source,
        "subpath": mount.subpath,
        "flags": ["ro"] if mount.read_only else [],
        "recursive": True,
        "idmap": "required",
    }


def _file(mount: Mount, target: str) -> Entry:
    if mount.content is None and os.path.exists(mount.source) and not os.path.isfile(mount.source):
        raise InvalidSpec(f"{mount.source} cannot be copied to {mount.target}: it is not a regular file")
    return {
        "type": "file",
        "target": target,
        "source": mount.source,
        "content": mount.content,
        "uid": mount.uid,
        "gid": mount.gid,
        "mode": 0o444 if mount.mode is None else mount.mode,
    }


def _bind_flags(mount: Mount) -> tuple[list[str], list[str]]:
    """The flags to set and to clear; later options take precedence, as in mount(8)."""
    chosen = {"ro"} if mount.read_only else set()
    cleared: set[str] = set()
    atime = None
    for option in mount.options:
        if option in _BIND_ATIMES:
            atime = _BIND_ATIMES[option]
        elif option in _BIND_CANCELS:
            chosen.discard(_BIND_CANCELS[option])
            cleared.add(_BIND_CANCELS[option])
        elif option in _BIND_FLAGS:
            chosen.add(option)
            cleared.discard(option)
        else:
            raise InvalidSpec(f"bind mount {mount.target}: unknown option {option!r}")
    if atime:
        chosen.add(atime)
    elif atime is not None:
        cleared.add("relatime")
    return sorted(chosen), sorted(cleared)


def _bind_source(mount: Mount) -> str:
    if not os.path.exists(mount.source):
        if not mount.create_host_path:
            raise InvalidSpec(
                f"bind mount: the source path {mount.source} does not exist",
                hint="Create it, or set bind.create_host_path.",
            )
        try:
            os.makedirs(mount.source, exist_ok=True)
        except OSError as error:
            raise OperationFailed.of("create the bind mount's source", mount.source, error) from error
    wanted = _PROPAGATES.get(mount.propagation.removeprefix("r"), ())
    if wanted and not any(field.startswith(wanted) for field in _mount_of(mount.source)):
        kinds = " or ".join(_PEERS[field] for field in wanted)
        raise InvalidSpec(
            f"bind mount with propagation {mount.propagation}: {mount.source} is not on a {kinds} mount",
            hint="Make it one on the host: mount --make-shared.",
        )
    return mount.source


def _check_subpath(volume: str, subpath: str) -> None:
    """It must exist, as in Docker, and be inside the volume; the mount itself resolves it again."""
    root = os.open(volume, flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(calls.openat2(root, subpath.strip("/") or ".", flags.O_PATH, resolve=flags.RESOLVE_BENEATH))
    except OperationFailed as error:
        raise InvalidSpec(f"volume subpath {subpath!r}: {error}") from error
    finally:
        os.close(root)


def _mount_of(path: str) -> list[str]:
    """The fields of the mount that contains `path` (proc_pid_mountinfo(5))."""
    number = str(calls.mount_id(path))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return next((line.split() for line in file if line.split(" ", 1)[0] == number), [])


def tmpfs(mount: Mount) -> Entry:
    """Raises InvalidSpec for an option that tmpfs(5) or mount(8) does not have."""
    chosen = {"nosuid", "nodev", "noexec"}
    data = []
    for option in mount.options:
        if option in _TMPFS_FLAGS:
            chosen.add(option)
        elif option in _CANCELS:
            chosen.discard(_CANCELS[option])
        elif option.partition("=")[0] in ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"):
            data.append(option)
        else:
            raise InvalidSpec(f"tmpfs {mount.target}: unknown option {option!r}")
    if mount.size:
        data.append(f"size={mount.size}")
    if mount.mode is not None:
        data.append(f"mode={mount.mode:o}")
    if mount.read_only:
        chosen.add("ro")
    return {
        "type": "tmpfs",
        "target": os.path.normpath(mount.target),
        "flags": sorted(chosen),
        "data": ",".join(data) or None,
        "mode": 0o1777,
    }
