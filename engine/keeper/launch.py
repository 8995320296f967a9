"""Starting a keeper. It outlives this process: its parent is init, and it has its own session."""

from __future__ import annotations

import fcntl
import os
import sys

import engine.rootless.client as rootless
from engine.background import READY, Background, Descriptors, spawn
from engine.errors import KeeperLost, OperationFailed
from engine.kernel import calls, flags, open_files
from engine.paths import KEEPER_LOG, Roots, make_private


class Launch:
    """A keeper of the group that starts while the caller does other work. A context manager: while it is open, a keeper
    without work waits for our connection, however late. Raises OperationFailed."""

    def __init__(self, roots: Roots, group: str) -> None:
        self._group, path = group, roots.keeper_socket(group)
        folder = os.path.dirname(path)
        make_private(folder)
        self._interpreter = -1
        try:
            self._process = Background(f"{folder}/{KEEPER_LOG}", lambda descriptors: self._start(path, descriptors))
        except OSError as error:
            self._let_go()
            raise OperationFailed.of("start the keeper of", group, error) from error

    def wait(self) -> None:
        """Wait until it listens. Raises KeeperLost with the cause if it failed."""
        self._let_go()
        if not self._process.wait():
            raise KeeperLost(f"the keeper of {self._group} did not start", hint=self._process.last_words())

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()
        self._process.close()

    def _start(self, path: str, descriptors: Descriptors) -> int:
        """Start the keeper that listens at `path`; returns its pid if we have to wait for it, otherwise 0."""
        tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
        # -I -S: nothing of the user's environment, no site-packages: the keeper needs the standard library alone.
        argv = [sys.executable, "-I", "-S", main, tree, path, str(READY)]
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        if rootless.here():
            # The process there may move containers into the user's cgroup.
            rootless.spawn(argv, environment, descriptors)
            return 0
        self._interpreter = _read_only(sys.executable)
        program = f"/proc/self/fd/{self._interpreter}" if self._interpreter >= 0 else sys.executable
        pid = spawn(program, argv, environment, descriptors)
        open_files.restore(pid)
        return pid

    def _let_go(self) -> None:
        """Close the interpreter. This unmounts it, and the kernel waits for RCU, up to ten milliseconds: `wait` does it, and
        not `__init__`, whose caller has other work."""
        interpreter, self._interpreter = self._interpreter, -1
        if interpreter >= 0:
            os.close(interpreter)


def _read_only(path: str) -> int:
    """Open the file in its own detached, read-only mount, so that a process that reaches it by /proc/<pid>/exe, from a
    container with CAP_SYS_PTRACE, cannot write to it (CVE-2019-5736). -1 where we may not mount."""
    try:
        tree = calls.open_tree(flags.AT_FDCWD, path, flags.OPEN_TREE_CLONE)
    except OperationFailed:
        return -1
    try:
        calls.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["ro"])
        return fcntl.fcntl(
            tree, fcntl.F_DUPFD_CLOEXEC, 10
        )  # above the descriptors with fixed numbers in the spawned process
    except OperationFailed:
        return -1
    finally:
        os.close(tree)
