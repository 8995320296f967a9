"""A container's files: spec.json synced, state.json replaced atomically, starting.json during a start.

A container's first state is in spec.json, under `initial`, which saves a file and is durable. The first change creates
state.json.

The state after a start is in starting.json until the program has been executed; only then does it become state.json. So
a container whose program never started does not count as running, whichever process is killed, and the process of an
interrupted start can be found and ended.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Mapping

import msgspec

from engine import disk_reserve
from engine.errors import OperationFailed
from engine.kernel.boot import boot_id
from engine.kernel.proc import start_time
from engine.paths import EXIT_FILE, SPEC_FILE, Roots, make_private
from engine.poll import write_all
from engine.spec.container import ContainerSpec, decode_spec
from engine.spec.state import ContainerExit, ContainerRecord, ContainerState, Status, decode_exit, decode_state

_STARTING = "starting.json"


class _Beginning(msgspec.Struct):
    """The container's first state, from spec.json."""

    initial: ContainerState = msgspec.field(default_factory=ContainerState)


_decode_beginning = msgspec.json.Decoder(_Beginning).decode


_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_new(folder: str, spec: ContainerSpec, state: ContainerState) -> None:
    """Create the container's directory with its specification and first state, durable before this returns.

    It fails with ENOSPC before the disk is full, so that stopping and removing still have space.
    """
    data = msgspec.json.encode(spec)[:-1] + b',"initial":' + msgspec.json.encode(state) + b"}"
    try:
        if disk_reserve.is_scarce(_state_root(folder)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            os.mkdir(folder, 0o700)
        except FileNotFoundError:  # the group's first container, or its last was just removed
            make_private(folder)
        _replace(f"{folder}/{SPEC_FILE}", data, durable=True)
    except OSError as error:
        raise OperationFailed.of("write", folder, error) from error


def rewrite_spec(folder: str, spec: ContainerSpec, state: ContainerState) -> None:
    """Replace the specification, durable before this returns."""
    data = msgspec.json.encode(spec)[:-1] + b',"initial":' + msgspec.json.encode(state) + b"}"
    try:
        _replace(f"{folder}/{SPEC_FILE}", data, durable=True)
    except OSError as error:
        raise OperationFailed.of("write", f"{folder}/{SPEC_FILE}", error) from error


def write_state(folder: str, state: ContainerState) -> None:
    """Replace the state without syncing: after a power cut, an older state is sufficient, because no container runs."""
    data = msgspec.json.encode(state)
    while True:
        try:
            return _replace(f"{folder}/state.json", data, durable=False)
        except OSError as error:
            # A container may take what is given before we do.
            if error.errno not in _FULL or not disk_reserve.give(_state_root(folder)):
                raise OperationFailed.of("write", f"{folder}/state.json", error) from error


def _state_root(folder: str) -> str:
    """<state> of <state>/groups/<group>/<container>."""
    return folder.rsplit("/", 3)[0]


def write_starting(folder: str, state: ContainerState) -> None:
    """Record the state that the container will have once its program is executed."""
    try:
        write_file(f"{folder}/{_STARTING}", msgspec.json.encode(state), os.O_TRUNC, 0o640)
    except OSError as error:
        raise OperationFailed.of("write", f"{folder}/{_STARTING}", error) from error


def read_starting(folder: str) -> ContainerState | None:
    """The state that an unfinished start leads to; None if there is none, or it was not completely written."""
    try:
        with open(f"{folder}/{_STARTING}", "rb") as file:
            return decode_state(file.read())
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def confirm_start(folder: str) -> None:
    """Confirm a start after the program was executed: the state from write_starting becomes current."""
    try:
        os.replace(f"{folder}/{_STARTING}", f"{folder}/state.json")
    except OSError as error:
        raise OperationFailed.of("write", f"{folder}/state.json", error) from error


def drop_start(folder: str) -> bool:
    """Discard an unconfirmed start. Returns whether there was one."""
    try:
        os.unlink(f"{folder}/{_STARTING}")
    except FileNotFoundError:
        return False
    return True


def _replace(path: str, data: bytes, *, durable: bool) -> None:
    temporary = f"{path}.new"
    try:
        write_file(temporary, data, os.O_TRUNC, 0o600, durable=durable)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if error.errno not in _FULL or not _overwritten(path, data):
            raise
    else:
        os.replace(temporary, path)


def _overwritten(path: str, data: bytes) -> bool:
    """Overwrite the file's existing blocks, which needs no space; False if they are too few.

    A kill cannot split a write of a few kilobytes. JSON may end in spaces.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        status = os.fstat(fd)
        if len(data) > status.st_blocks * 512:
            return False
        data = data.ljust(status.st_size)
        return os.pwrite(fd, data, 0) == len(data)
    except OSError:
        return False
    finally:
        os.close(fd)


def write_file(path: str, data: bytes, how: int, mode: int, *, durable: bool = False) -> None:
    """Write a whole file. `how`: O_TRUNC or O_EXCL. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, mode)
    try:
        write_all(fd, data)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def read_exit(folder: str) -> ContainerExit | None:
    """The keeper's exit record, None while the process is running."""
    try:
        with open(f"{folder}/{EXIT_FILE}", "rb") as file:
            return decode_exit(file.read())
    except (FileNotFoundError, msgspec.DecodeError):
        return None


_kept: dict[str, tuple[tuple[int, ...], ContainerSpec, ContainerState]] = {}
"""Directory of a container → the identity of its files (see `_identity`), and their content."""
_KEPT = 1024
_SETTLED = 0.1
"""Seconds after the last change from which a file's identity is unique: inodes are reused, and times are coarse."""


def read(roots: Roots, group: str, container_id: str) -> ContainerRecord | None:
    """The container's current state; it has exited if its process no longer exists. None if the container does
    not exist."""
    folder = roots.container(group, container_id)
    identity = _identity(folder)
    kept = _kept.get(folder)
    if kept is not None and kept[0] == identity:
        _, spec, state = kept
    else:
        found = _read(folder)
        if found is None:
            _kept.pop(folder, None)
            return None
        spec, state = found
        if identity and time.time() - max(identity[2], identity[5]) / 1e9 > _SETTLED:
            if len(_kept) >= _KEPT:
                _kept.clear()
            _kept[folder] = (identity, spec, state)
    return ContainerRecord(id=container_id, group=group, spec=spec, state=verified(folder, state))


def _identity(folder: str) -> tuple[int, ...]:
    """Inode, size and time of change (nanoseconds) of both files, zeros for a state that was never changed; () without a
    specification."""
    try:
        one = os.stat(f"{folder}/{SPEC_FILE}")
    except OSError:
        return ()
    try:
        two = os.stat(f"{folder}/state.json")
    except FileNotFoundError:
        return one.st_ino, one.st_size, one.st_ctime_ns, 0, 0, 0
    except OSError:
        return ()
    return one.st_ino, one.st_size, one.st_ctime_ns, two.st_ino, two.st_size, two.st_ctime_ns


def _read(folder: str) -> tuple[ContainerSpec, ContainerState] | None:
    try:
        with open(f"{folder}/{SPEC_FILE}", "rb") as file:
            text = file.read()
        spec = decode_spec(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.DecodeError as error:
        raise OperationFailed("read", f"{folder}/{SPEC_FILE}", detail=str(error)) from error
    try:
        with open(f"{folder}/state.json", "rb") as file:
            return spec, decode_state(file.read())
    except (FileNotFoundError, msgspec.DecodeError):
        return spec, _decode_beginning(text).initial


def verified(folder: str, state: ContainerState) -> ContainerState:
    """The state corrected by the kernel: alive only with the same process in the same boot."""
    if not state.status.alive or is_running(state):
        return state
    ended = read_exit(folder)
    if ended is None or ended.pid != state.pid:
        # Killed with its keeper, or by a reboot: the exit code is unknown.
        ended = ContainerExit(exit_code=255, finished_at=state.started_at)
    return exited(state, ended)


def is_running(state: ContainerState) -> bool:
    """Whether the state's process exists: the same one, in the same boot."""
    return state.boot_id == boot_id() and start_time(state.pid) == state.pid_start


def exited(state: ContainerState, ended: ContainerExit) -> ContainerState:
    return msgspec.structs.replace(
        state,
        status=Status.EXITED,
        pid=0,
        pid_start=0,
        exit_code=ended.exit_code,
        finished_at=ended.finished_at,
        oom_killed=ended.oom_killed,
        stopping=False,
        endpoints=(),
        ports=(),
    )


def named(record: ContainerRecord, name: str) -> ContainerRecord:
    """The record with the container's current name, "" if unknown: a rename does not rewrite spec.json."""
    if name in ("", record.spec.name):
        return record
    spec = msgspec.structs.replace(record.spec, name=name)
    return msgspec.structs.replace(record, spec=spec)


def every(roots: Roots, group: str, names: Mapping[str, str] | None = None) -> list[ContainerRecord]:
    """The group's containers, oldest first; `names` are the current names of renamed ones."""
    try:
        entries = os.listdir(f"{roots.groups}/{group}")
    except FileNotFoundError:
        return []
    found = []
    for entry in entries:
        record = read(roots, group, entry)
        if record is None:
            continue
        found.append(named(record, (names or {}).get(record.id, "")))
    return sorted(found, key=lambda record: (record.state.created_at, record.spec.name))
