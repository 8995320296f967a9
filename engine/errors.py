"""The engine's errors.

EngineError                 everything below; `str(e)` is one or more lines for a reader, never a traceback
├── OperationFailed         a system call or file operation failed: operation, subject, errno
├── InvalidSpec             a specification asks for something contradictory or malformed
├── Unsupported             a specification asks for something this engine, kernel or host cannot do
├── NotFound                no such container, image, network, volume …
├── Conflict                the name is taken, or the object is in use
├── WrongState              the operation is not possible in the container's present state
├── PortInUse               a published port is already bound on the host
├── PoolExhausted           no free address or subnet is left, or the requested subnet overlaps another
├── StartFailed             the container's process could not be started (exit code 125, 126 or 127)
├── KeeperLost              the group's keeper does not answer
│   └── KeeperAbsent        it was killed, and the next one does not serve the container yet
├── OtherVersion            a process of ours that was started before an upgrade speaks another version of its protocol
├── ImageError              a reference, manifest, layer or blob is unusable
│   ├── BadReference
│   └── Corrupt             digest or size does not match what was promised
├── ImageRefused             a policy of this machine or user does not admit the image
├── RegistryError           a registry refused or did not answer; carries the HTTP status
└── BuildFailed             a Dockerfile is wrong or one of its instructions failed
"""

from __future__ import annotations

import errno as _errno
import os

PRIVILEGED = "To use composer in a container, start that container with docker run --privileged."
"""The hint for a kernel that denies root a permission that the engine needs."""


class EngineError(Exception):
    """Base of all errors that the engine raises; `hint` tells the user what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


RAISE_OPEN_FILES = "Raise the limit of open files: ulimit -n 1024"
"""What to do after EMFILE. A supervisor inherits the limit of the command that starts it."""

RAISE_PROCESSES = "Raise the limit of processes (ulimit -u, or pids.max of our cgroup), or of memory (ulimit -v)."
"""What to do after EAGAIN of fork(2), clone(2) or pthread_create(3)."""


class OperationFailed(EngineError):
    """An operation on a kernel object or file failed.

    `errno` is the number, 0 if none; the message contains its name (ENOSPC, EPERM …).
    """

    def __init__(
        self, operation: str, subject: object, errno: int = 0, *, detail: str = "", hint: str = "", path: object = ""
    ) -> None:
        """`path`: where it failed, if that is not `subject`."""
        name = _errno.errorcode.get(errno, str(errno)) if errno else ""
        tail = ": ".join(part for part in (name, detail) if part)
        if errno in _UNWRITABLE and (disc := unwritable(path or subject, errno)):
            hint = f"{disc}\n{hint}" if hint else disc
        hint = hint or _RAISE.get(errno, "")
        super().__init__(f"{operation} {subject}" + (f": {tail}" if tail else ""), hint=hint)
        self.operation, self.subject, self.errno = operation, subject, errno

    @classmethod
    def of(cls, operation: str, subject: object, error: OSError, *, hint: str = "") -> OperationFailed:
        """Wrap an OSError; use as `raise OperationFailed.of(…) from error`."""
        path = "" if isinstance(subject, str) and subject.startswith("/") else error.filename
        return cls(operation, subject, error.errno or 0, detail=error.strerror or str(error), hint=hint, path=path)


_UNWRITABLE = (_errno.ENOSPC, _errno.EDQUOT, _errno.EROFS)
_RAISE = {_errno.EMFILE: RAISE_OPEN_FILES, _errno.EAGAIN: RAISE_PROCESSES}

PLACES: list[str] = []
"""Directories to check for a full disk if an error's subject is not a path: state root and run root."""


def unwritable(subject: object, errno: int) -> str:
    """A sentence that names the full or read-only file system; "" if there is none, or the kernel's settings are
    read-only."""
    named = [subject] if isinstance(subject, str) and subject.startswith("/") else []
    if any(path.startswith(("/proc/", "/sys/")) for path in named):
        return ""
    places = [_existing(path) for path in (*named, *PLACES)]
    if errno == _errno.EROFS and not named:
        # After an error of the disk, only the file system itself knows that it is read-only.
        places = [place for place in places if os.statvfs(place).f_flag & os.ST_RDONLY] or places
    for place in places:
        try:
            found, device = os.statvfs(place), os.stat(place).st_dev
            while place != "/" and os.stat(os.path.dirname(place)).st_dev == device:
                place = os.path.dirname(place)
        except OSError:
            continue
        if errno == _errno.EROFS:
            return f"The file system at {place} is read-only. If it should be writable, dmesg may show the cause."
        if not found.f_favail and found.f_files:
            return f"The file system at {place} has no inodes left."
        if errno == _errno.EDQUOT:
            return f"A quota of the file system at {place} is used up."
        if found.f_bavail * found.f_frsize < 1 << 20:
            return f"The file system at {place} is full."
    return ""


def _existing(path: str) -> str:
    """The path, or the deepest directory above it that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def system_message(error: BaseException) -> str:
    """What to tell the user about an error of the system that no operation expected: its reason and the remedy. "" for an
    error that is not the system's."""
    if isinstance(error, MemoryError):
        return "no memory is left: raise the limit (ulimit -v, or of the cgroup), or stop other programs"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):  # (it has no errno)
        return str(OperationFailed("start", "a thread", _errno.EAGAIN))
    if not isinstance(error, OSError) or not error.errno:
        return ""
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    remedy = unwritable(path, error.errno) if error.errno in _UNWRITABLE else _RAISE.get(error.errno, "")
    return f"{error.strerror} {path}".rstrip() + (f"\n{remedy}" if remedy else "")


class InvalidSpec(EngineError):
    pass


class Unsupported(EngineError):
    pass


class NotFound(EngineError):
    """`kind` is the type of the object (container, image, network, volume), `name` its name."""

    def __init__(self, kind: str, name: str, *, hint: str = "") -> None:
        super().__init__(f"no such {kind}: {name}", hint=hint)
        self.kind, self.name = kind, name


class Conflict(EngineError):
    pass


class WrongState(EngineError):
    pass


class PortInUse(EngineError):
    pass


class PoolExhausted(EngineError):
    pass


class StartFailed(EngineError):
    """`exit_code` as Docker's: 125 the engine failed, 126 cannot be executed, 127 not found."""

    def __init__(self, message: str, *, exit_code: int = 125, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class KeeperLost(EngineError):
    pass


class KeeperAbsent(KeeperLost):
    """Nothing was done, because no keeper serves the running container; a supervisor starts one and hands it over."""


class OtherVersion(EngineError):
    """`socket` is the name of the socket on which the process `pid` listens."""

    def __init__(self, socket: str, pid: int, theirs: str, ours: str) -> None:
        super().__init__(
            f"process {pid}, which listens on {socket}, uses version {theirs or 'none'} of the protocol, "
            f"and this program version {ours}",
            hint="This program was upgraded or replaced while the command ran: run the command again.",
        )
        self.pid = pid


class ImageError(EngineError):
    pass


class BadReference(ImageError):
    pass


class Corrupt(ImageError):
    pass


class ImageRefused(EngineError):
    pass


class RegistryError(EngineError):
    """`status`: of the registry's answer, 0 when there was none; then `unreachable` is its URL, and `reason` the system's
    word for what is wrong, if it has one."""

    def __init__(
        self, message: str, *, status: int = 0, hint: str = "", unreachable: str = "", reason: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.status, self.unreachable, self.reason = status, unreachable, reason


class BuildFailed(EngineError):
    """`exit_code` is that of the failing RUN, 0 when the Dockerfile itself is wrong."""

    def __init__(self, message: str, *, exit_code: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
