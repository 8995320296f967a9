"""The supervisor's control socket, and the lock that lets only one supervisor be. Imports next to nothing: a supervisor
listens before it has loaded the rest of itself, and commands pay little for connecting.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time

PATIENCE = 10.0
"""Seconds that a new supervisor waits for one that is leaving, or for another new one to listen."""
PAUSE = 0.005
"""Seconds between two looks at that; neither end of a process nor a lock can be waited for together with a socket."""


LEAVING = "leaving"
"""What the socket is called while its supervisor tidies up."""
REMAINS = ("supervisor.sock", "keeper.sock", LEAVING)
"""Files that are there when a supervisor or a keeper was killed."""


class Control:
    """A listening socket, mode 0600, and the lock on its folder, held as long as the process lives.

    `clean`: the last one that was here left in good order, and so did its keeper.
    """

    def __init__(self, listener: socket.socket, lock: int, path: str, *, clean: bool) -> None:
        self.listener, self._lock, self.path, self.clean = listener, lock, path, clean

    @classmethod
    def open(cls, path: str) -> Control | None:
        """Become the one that listens at `path`; None when another supervisor does already. Raises OSError."""
        deadline = time.monotonic() + PATIENCE
        while True:
            lock = _locked(f"{path.removesuffix('.sock')}.lock")
            if lock is not None:
                folder = os.path.dirname(path)
                clean = not any(os.path.exists(f"{folder}/{name}") for name in REMAINS)
                return cls(_listen(path), lock, path, clean=clean)
            try:
                connect(path).close()
                return None
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE)

    def close(self) -> None:
        """Stop listening; whoever has connected and was not accepted is hung up on, and tries again. The lock stays."""
        try:
            os.replace(self.path, f"{os.path.dirname(self.path)}/{LEAVING}")
        except FileNotFoundError:
            pass
        self.listener.close()


def listens(path: str) -> bool:
    """Whether somebody listens at this socket."""
    try:
        connect(path).close()
    except OSError:
        return False
    return True


def _locked(path: str) -> int | None:
    """Lock the file without waiting; None when somebody has it. A file that was replaced meanwhile does not count."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.stat(path)
        if os.path.samestat(found, os.fstat(fd)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def _address(path: str) -> tuple[str, int]:
    """A name within sun_path's 108 bytes (unix(7)), and the folder descriptor to close after its use."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{folder}/{os.path.basename(path)}", folder


def _listen(path: str) -> socket.socket:
    name, folder = _address(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            os.unlink(path)  # a dead one's
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


def connect(path: str) -> socket.socket:
    """Connect to a supervisor. OSError when none listens."""
    name, folder = _address(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(name)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


def peer_is_us(sock: socket.socket) -> bool:
    """Whether the peer runs as root or as our own user (unix(7), SO_PEERCRED)."""
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid in (0, os.geteuid())
