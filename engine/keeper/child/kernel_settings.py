"""Host name, sysctls, limits and the OOM score: what the kernel is told before the program starts."""

from __future__ import annotations

import errno
import functools
import os
import resource

from engine.errors import OperationFailed
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle, Process


def name(bundle: Bundle) -> None:
    if bundle["namespaces"].get("uts") == "new":
        calls.sethostname(bundle["hostname"])
        if bundle.get("domainname"):
            calls.setdomainname(bundle["domainname"])


def apply(sysctls: dict[str, str]) -> None:
    """Write sysctls, through a procfs that is one (CVE-2019-16884's class)."""
    if not sysctls:
        return
    proc = _proc()
    try:
        for key, value in sysctls.items():
            _write(proc, f"sys/{key.replace('.', '/')}", value)
    finally:
        os.close(proc)


def confine(profile: str) -> None:
    """Let execve(2) give the program this AppArmor profile; nothing for "". Raises OperationFailed."""
    if not profile:
        return
    proc = _proc()
    try:
        _write(proc, f"thread-self/{exec_attribute()}", f"exec {profile}")
    except OperationFailed as error:
        raise refused(profile, error.errno) from error
    finally:
        os.close(proc)


def refused(profile: str, number: int) -> OperationFailed:
    """The kernel has no such profile, or does not let us change to it."""
    hint = "Load it: apparmor_parser -r FILE." if number == errno.ENOENT else ""
    return OperationFailed("confine by the AppArmor profile", profile, number, detail=os.strerror(number), hint=hint)


@functools.cache
def exec_attribute() -> str:
    """The file of a process' folder in /proc that has the profile for the next execve(2). Linux before 5.8 has one for all
    security modules, for whichever is the first to use it."""
    own = "attr/apparmor/exec"
    return own if os.path.exists(f"/proc/self/{own}") else "attr/exec"


def _proc() -> int:
    proc = os.open("/proc", flags.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if calls.filesystem_type(proc) != flags.PROC_SUPER_MAGIC:
        os.close(proc)
        raise OperationFailed("verify", "/proc", detail="it is not a procfs; the image or a mount replaced it")
    return proc


def raise_descriptors() -> None:
    """As many descriptors as the keeper may have: each container needs about eight. Its children get back what was."""
    global _descriptors
    _descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors[1], _descriptors[1]))


_descriptors: tuple[int, int] | None = None


def limit(process: Process, pid: int) -> None:
    """Resource limits and the OOM score of `pid`, as they may need the host's privileges. 0: our own."""
    own = [(resource.RLIMIT_NOFILE, *_descriptors)] if _descriptors else []
    for kind, soft, hard in (*own, *process["rlimits"]):
        try:
            resource.prlimit(pid, kind, (soft, hard))
        except (OSError, ValueError) as error:
            _, highest = resource.getrlimit(kind)
            name = next(
                name for name in dir(resource) if name.startswith("RLIMIT_") and getattr(resource, name) == kind
            )
            raise OperationFailed(
                "set ulimit",
                f"{name.removeprefix('RLIMIT_').lower()}={soft}:{hard}",
                detail=str(error),
                hint=f"Only the host's root may go above {highest}, the hard limit here.",
            ) from error
    if score := process.get("oom_score_adj", 0):
        path = f"/proc/{pid or 'self'}/oom_score_adj"
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(str(score))
        except OSError as error:
            hint = f"Only the host's root may lower it to {score}." if isinstance(error, PermissionError) else ""
            raise OperationFailed.of(f"write {score} to", path, error, hint=hint) from error


def _write(proc: int, path: str, value: str) -> None:
    beneath = flags.RESOLVE_BENEATH | flags.RESOLVE_NO_XDEV
    # /proc/self is a magic link in name only: a plain symbolic link inside the same procfs.
    fd = calls.openat2(proc, path, os.O_WRONLY, resolve=beneath)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OperationFailed.of("write", f"/proc/{path}", error, hint=f"The value was {value!r}.") from error
    finally:
        os.close(fd)
