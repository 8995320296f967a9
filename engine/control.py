"""Control sockets: a path in the run root on which one of our processes listens, and a lock beside it, which allows
only one. A keeper, a supervisor, and the process that holds a user's namespace have one each.

    <name>.sock     mode 0600; each side also checks the user of the other
    <name>.lock     locked by the listening process for its lifetime; its text is the version of the protocol

The listening process may have been started before an upgrade of this program, and the connecting one after it, so the versions
are compared before any message. Imports next to nothing: commands pay for it whenever they connect.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time

from engine.errors import OperationFailed, OtherVersion
from engine.paths import make_private

PAUSE = 0.005
"""Polling interval in seconds for a lock and a socket, which cannot be waited for together."""

_TRIES = 8
"""How often a removed directory is created again."""


def connect(path: str, version: str = "") -> socket.socket:
    """Connect to the process that listens on `path`. Raises OSError if there is none, OperationFailed if it is another
    user's, OtherVersion if its version is not `version` ("": any)."""
    name, folder = _address(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(name)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(folder)
    if not peer_is_us(sock):
        sock.close()
        raise OperationFailed(
            "connect to",
            path,
            detail="the process that listens there is another user's",
            hint="Ask that user to stop it.",
        )
    if version and (theirs := _version_of(path)) != version:
        pid, _ = peer(sock)
        sock.close()
        raise OtherVersion(os.path.basename(path), pid, theirs, version)
    return sock


def listens(path: str) -> bool:
    """Whether a process listens at `path`."""
    try:
        connect(path).close()
    except OSError:
        return False
    return True


def claim(path: str, version: str = "") -> int | None:
    """Acquire the right to listen at `path` with this protocol `version`: returns the descriptor of the lock, to be
    kept open, or None if another process listens there. Waits for a process that is exiting or about to listen, while
    it holds the lock. Raises OSError."""
    while True:
        lock = _locked(lock_of(path))
        if lock is not None:
            try:
                # In this order, because a full file system would not give back the space that ftruncate releases.
                os.ftruncate(lock, os.pwrite(lock, version.encode(), 0))
            except OSError:
                os.close(lock)
                raise
            return lock
        try:
            connect(path).close()
            return None
        except (ConnectionRefusedError, FileNotFoundError):
            time.sleep(PAUSE)


def listen(path: str) -> socket.socket:
    """A listening socket at `path`, replacing that of a dead process. Raises OSError."""
    name, folder = _address(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        before = os.umask(0o177)
        try:
            sock.bind(name)
        finally:
            os.umask(before)
        sock.listen(64)
    finally:
        os.close(folder)
    return sock


def create(path: str, bits: int) -> int:
    """Open a file in a control socket's directory, and create both if they are missing. An exiting process removes the
    directory, possibly after we have found it. Raises OSError."""
    tries = 0
    while True:
        try:
            make_private(os.path.dirname(path))
            return os.open(path, bits | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (
            FileNotFoundError,
            FileExistsError,
        ):  # (makedirs checks an existing path again, and raises the latter)
            tries += 1
            if tries == _TRIES:
                raise


def lock_of(path: str) -> str:
    """The lock file of the process that listens at `path`."""
    return f"{path.removesuffix('.sock')}.lock"


def peer(sock: socket.socket) -> tuple[int, int]:
    """Process id and user id of the other side, as they were when it connected or began to listen (unix(7), SO_PEERCRED)."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def peer_is_us(sock: socket.socket) -> bool:
    """Whether the peer runs as root or as our own user."""
    return peer(sock)[1] in (0, os.geteuid())


def peer_is_stopped(sock: socket.socket) -> bool:
    """Whether the peer's process is stopped (Ctrl-Z), so that waiting is pointless (proc_pid_stat(5), field 3)."""
    try:
        with open(f"/proc/{peer(sock)[0]}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].startswith((b"T", b"t"))
    except OSError:
        return False


def stopped(path: str) -> int:
    """The pid of the process that listens at `path` if it is stopped, else 0."""
    try:
        with connect(path) as sock:
            return peer(sock)[0] if peer_is_stopped(sock) else 0
    except OSError:
        return 0


def end(path: str) -> None:
    """Kill the process that listens at `path`, if there is one, and wait for its exit."""
    import signal

    from engine.poll import readable

    try:
        sock = connect(path)
    except OSError:
        return
    with sock:
        pid, _ = peer(sock)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return  # it has just exited
        try:
            if _is_open(sock):  # it was alive when we opened the pidfd, so the pid was not reused
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            readable(pidfd)
        except ProcessLookupError:
            pass
        finally:
            os.close(pidfd)


def _is_open(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _version_of(path: str) -> str:
    """The version of the process that listens at `path`; "" if it states none."""
    try:
        # (utf-8 is built in; ascii would have to be loaded)
        with open(lock_of(path), encoding="utf-8", errors="replace") as file:
            return file.read(100)
    except FileNotFoundError:
        return ""


def _locked(path: str) -> int | None:
    """Lock the file without waiting; None if another process has locked it. A lock on a file that was replaced
    meanwhile is ignored."""
    fd = create(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(path), os.fstat(fd)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def _address(path: str) -> tuple[str, int]:
    """A name within sun_path's 108 bytes (unix(7)), and the folder descriptor to close after its use."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{folder}/{os.path.basename(path)}", folder
