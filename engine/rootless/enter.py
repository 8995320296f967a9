"""The command's side: entering the user's namespace, which is created if there is none."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

import engine.rootless.client as client
from engine.errors import KeeperLost, OperationFailed, Unsupported
from engine.kernel import calls, flags
from engine.paths import ROOTLESS_SOCKET, Roots, make_private

_ATTEMPTS = 3


def enter(roots: Roots, *, make: bool) -> None:
    """Move this process, which must have one thread, into its user's namespace: afterwards it is uid 0 there.

    Without `make`, does nothing if the namespace does not exist. The environment then has the roots and the socket for
    child processes. Raises Unsupported with what the host or the user's account lacks.
    """
    os.environ.update(roots.environment())  # the defaults of uid 0 are not for us
    path = f"{roots.run}/{ROOTLESS_SOCKET}"
    _check_owner(roots.run)
    for attempt in range(_ATTEMPTS):
        try:
            answer, spaces = client.join(path)
            break
        except (OSError, KeeperLost):
            if not make:
                return
            if attempt + 1 == _ATTEMPTS:
                raise
            _make(roots, path)
    _join(spaces)
    os.environ[client.VARIABLE] = path
    os.environ[client.CGROUP] = answer["cgroup"]
    # iptables-legacy would lock a file that belongs to root.
    os.environ["XTABLES_LOCKFILE"] = f"{roots.run}/xtables.lock"
    _resolver(answer["resolv_conf"])


def _join(spaces: list[int]) -> None:
    """`spaces`: descriptors of the user, mount and network namespaces."""
    place = "/"
    with contextlib.suppress(OSError):  # the directory has been removed
        place = os.getcwd()
    for fd, kind in zip(spaces, ("user", "mount", "net"), strict=True):
        calls.setns(fd, flags.CLONE[kind])
        os.close(fd)
    # Gaining capabilities made our /proc files belong to root; make them readable for us, also in child processes.
    calls.prctl(flags.PR_SET_DUMPABLE, 1)
    with contextlib.suppress(OSError):  # a directory that exists only in this process's old mounts
        os.chdir(place)


def _resolver(path: str) -> None:
    """Mount our resolv.conf over the host's, again if the host's file was replaced since."""
    with contextlib.suppress(OSError, OperationFailed):  # only some commands need to resolve names
        ours, seen = os.stat(path), os.stat("/etc/resolv.conf")
        if (ours.st_dev, ours.st_ino) != (seen.st_dev, seen.st_ino):
            calls.mount(path, "/etc/resolv.conf", None, flags.MS["bind"])


def _make(roots: Roots, path: str) -> None:
    """Start the process that creates and holds the namespace, unless another command is doing so."""
    _private(roots.run)
    lock = os.open(f"{roots.run}/rootless.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError, KeeperLost):
            client.no_network(path)
            return
        tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
        argv = [sys.executable, "-I", "-S", program, tree, roots.run, "3"]
        answer = ""
        for prefix in (_scope(), []):
            answer = _start([*prefix, *argv], f"{roots.run}/rootless.log")
            if answer:
                break
        if answer != "1":
            message, _, hint = answer.lstrip("!").partition("\n")
            raise Unsupported(message or "cannot create a namespace", hint=hint or f"See {roots.run}/rootless.log.")
        if why := client.no_network(path):
            print(f"warning: containers and pulls have no outside network: {why}", file=sys.stderr)
    finally:
        os.close(lock)


def _scope() -> list[str]:
    """Start it in a systemd scope whose cgroup is delegated, if the user has a systemd instance."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers") or not os.path.exists(f"{runtime}/systemd/private"):
        return []
    words = [
        "--user",
        "--scope",
        "--quiet",
        "--collect",
        "--property=Delegate=yes",
        "--description=composer containers",
    ]
    return ["systemd-run", *words, "--"]


def _start(argv: list[str], log: str) -> str:
    """The message of the started process when it is ready ("1") or has failed; "" if it could not be started."""
    ready, done = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    actions = [(os.POSIX_SPAWN_DUP2, one, to) for to, one in enumerate((null, output, output, done))]
    try:
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsid=True)
    except OSError:
        return ""
    finally:
        for fd in (done, null, output):
            os.close(fd)
    with open(ready, "rb") as file:
        answer = file.read().decode(errors="replace")
    os.waitpid(pid, 0)  # it forks, and its parent exits
    return answer


def _private(folder: str) -> None:
    """Create the run root. Raises OperationFailed."""
    parent = os.path.dirname(folder)
    for path in (parent, folder):
        try:
            make_private(path)
        except OSError as error:
            raise OperationFailed.of("create the run root", path, error, hint="Set XDG_RUNTIME_DIR.") from error
    _check_owner(folder)
    os.chmod(folder, 0o700)


def _check_owner(folder: str) -> None:
    """Without XDG_RUNTIME_DIR, the run root is below /tmp, where others may have created it first, with a link to our
    own socket in it. Raises OperationFailed."""
    hint = "Set XDG_RUNTIME_DIR to a directory of your own, or run composer as root."
    for path, owners in ((os.path.dirname(folder), (0, os.getuid())), (folder, (os.getuid(),))):
        try:
            owner = os.lstat(path).st_uid
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OperationFailed.of("use the run root", path, error, hint=hint) from error
        if owner not in owners:
            raise OperationFailed(
                "use the run root", path, detail=f"it belongs to another user (uid {owner})", hint=hint
            )
