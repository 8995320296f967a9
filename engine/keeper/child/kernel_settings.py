"""Host name, sysctls, limits and the OOM score: kernel settings made before the program starts."""

from __future__ import annotations

import errno
import functools
import os
import resource

from engine.errors import OperationFailed
from engine.kernel import flags

TYPE_CHECKING = False  # of typing, which a keeper does not load
if TYPE_CHECKING:
    from engine.keeper.bundle import Bundle, Process
    from engine.keeper.child.kernel import Kernel
    from engine.keeper.child.progress import Progress


SYSCTLS_WITHOUT_ERRORS = {"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"}
"""Sysctls that the engine sets itself; the kernel accepts their values."""


def only_directly(bundle: Bundle) -> str:
    """Why a recorded start cannot make these settings; see steps.py."""
    if bundle["process"].get("oom_score_adj"):
        return "an OOM score"
    return "" if bundle["sysctls"].keys() <= SYSCTLS_WITHOUT_ERRORS else "sysctls that may be wrong"


def wait_for_network(bundle: Bundle) -> bool:
    """Whether to write the sysctls only after the network is connected, because one may belong to an interface."""
    return not bundle["sysctls"].keys() <= SYSCTLS_WITHOUT_ERRORS


def name(kernel: Kernel, progress: Progress) -> None:
    bundle = progress.bundle
    if bundle["namespaces"].get("uts") == "new":
        kernel.sethostname(bundle["hostname"])
        if domain := bundle.get("domainname"):
            kernel.setdomainname(domain)


def apply(kernel: Kernel, sysctls: dict[str, str]) -> None:
    """Write sysctls, after checking that /proc is a procfs (the class of CVE-2019-16884)."""
    if not sysctls:
        return
    proc = _proc(kernel)
    try:
        for key, value in sysctls.items():
            _write(kernel, proc, f"sys/{key.replace('.', '/')}", value)
    finally:
        kernel.close(proc)


def confine(kernel: Kernel, profile: str) -> None:
    """Let execve(2) give the program this AppArmor profile; nothing for "". Raises OperationFailed."""
    if not profile:
        return
    proc = _proc(kernel)
    try:
        with kernel.refused(lambda number: refused(profile, number)):
            _write(kernel, proc, f"thread-self/{exec_attribute()}", f"exec {profile}")
    finally:
        kernel.close(proc)


def refused(profile: str, number: int) -> OperationFailed:
    """The error if the kernel lacks the profile or does not permit changing to it."""
    hint = "Load it: apparmor_parser -r FILE." if number == errno.ENOENT else ""
    return OperationFailed("confine by the AppArmor profile", profile, number, detail=os.strerror(number), hint=hint)


@functools.cache
def exec_attribute() -> str:
    """The file below /proc/PID that takes the profile for the next execve(2). Linux before 5.8 has a single file for
    all security modules, which the first of them uses."""
    own = "attr/apparmor/exec"
    return own if os.path.exists(f"/proc/self/{own}") else "attr/exec"


def _proc(kernel: Kernel) -> int:
    proc = kernel.open("/proc", flags.O_PATH | os.O_DIRECTORY)
    kernel.demand_filesystem(proc, flags.PROC_SUPER_MAGIC, _no_procfs)
    return proc


def _no_procfs() -> OperationFailed:
    return OperationFailed("verify", "/proc", detail="it is not a procfs; the image or a mount replaced it")


def raise_descriptors() -> None:
    """Raise our descriptor limit as far as permitted, because each container needs about eight. Children get the
    original limit."""
    global _descriptors
    _descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors[1], _descriptors[1]))


_descriptors: tuple[int, int] | None = None


def limit(process: Process, pid: int) -> None:
    """Set resource limits and OOM score of `pid` (0: our own). They may need the host's privileges."""
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
                getattr(error, "errno", 0),
                detail=getattr(error, "strerror", "") or str(error),
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


def _write(kernel: Kernel, proc: int, path: str, value: str) -> None:
    beneath = flags.RESOLVE_BENEATH | flags.RESOLVE_NO_XDEV
    # /proc/self is not a magic link, but a plain symbolic link inside the same procfs.
    fd = kernel.open_within(proc, path, os.O_WRONLY, beneath)
    try:
        kernel.write(fd, value.encode())
    except OSError as error:
        raise OperationFailed.of("write", f"/proc/{path}", error, hint=f"The value was {value!r}.") from error
    finally:
        kernel.close(fd)
