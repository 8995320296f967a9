"""RUN in containers: implements engine.build.execute.RunStep with engine.container and a keeper that the build owns.

build ──(own)── keeper ── the step's process        a build that is killed takes its keeper and process along
<run>/build-<random>/       lock, keeper.sock
<run>/build-<random>/<id>/  exit.json and the like: gone with the step
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from engine.build import step_bundle
from engine.build.execute import Output, RunRequest
from engine.cgroup.manager import Cgroups, Handle, check_parent
from engine.container import apparmor, devices
from engine.errors import BuildFailed, EngineError, KeeperLost, OperationFailed, StartFailed
from engine.filetree.remove import remove_at
from engine.keeper.connection import Connection
from engine.keeper.launch import Launch
from engine.keeper.protocol import Message
from engine.kernel import calls
from engine.paths import BUNDLE_FILE, Roots
from engine.poll import readable
from engine.session import build_folders
from engine.vocabulary import WITHOUT_NETWORKS

_HEADER = 8


class Network(Protocol):
    """Connects steps to the outside. Called from several threads."""

    def connect(self, group: str, container_id: str, pid: int, mode: str) -> Callable[[], None]:
        """Connect the process's network namespace to the network `mode`, "" for the default; returns a function that
        disconnects it."""
        ...

    def forget(self, group: str) -> None:
        """Release the resources of the build `group`, which was killed."""
        ...

    def close(self) -> None:
        """The build is over."""
        ...


class ContainerRun:
    """Runs steps; a context manager, whose end removes everything that the build was running. Safe for several threads.
    `network` is called for the first step that needs one; without it, a step with the default network has only a loopback
    interface."""

    def __init__(self, roots: Roots, network: Callable[[], Network] | None = None) -> None:
        self.roots = roots
        self._make_network, self._network = network, list[Network]()
        self.group = build_folders.new_name()
        self.folder = f"{roots.run}/{self.group}"
        self.cgroups = Cgroups.of(roots)
        self._parent = ""
        self._apparmor = apparmor.Default(roots)
        self._lock = threading.Lock()
        self._launch: Launch | None = None
        self._owner: Connection | None = None
        self._keeper = -1
        self._marker = -1
        self._running: dict[str, Handle] = {}
        self._cancelled = False

    def cancel(self) -> None:
        """Kill running steps, and start no others; from any thread. The build fails when they end."""
        with self._lock:
            self._cancelled = True
            for handle in self._running.values():
                handle.kill()

    def prepare(self) -> None:
        """Let the keeper start while the caller does other work. Raises OperationFailed."""
        with self._lock:
            if self._launch is None and self._owner is None:
                self._begin()

    def __enter__(self) -> ContainerRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the keeper and remove the build's folder. Steps must have ended."""
        if self._launch:
            with contextlib.suppress(EngineError):
                self._start()  # no step was executed, but the keeper must be reaped all the same
        if self._owner:
            self._owner.close()
            self._owner = None
        if self._keeper >= 0:
            readable(self._keeper)
            os.close(self._keeper)
            self._keeper = -1
        if self._marker >= 0:
            self.cgroups.sweep(self.group, ())
            if self._parent:
                self.cgroups.sweep(self.group, (), self._parent)
            for network in self._network:
                network.close()
            build_folders.remove(self.roots, self.group)  # last: if we are killed, it shows others what to clean up
            os.close(self._marker)
            self._marker = -1

    def __call__(self, request: RunRequest, output: Output, warn: Callable[[str], None] = lambda text: None) -> int:
        """See engine.build.execute.RunStep."""
        for text in () if request.privileged else self._apparmor.warnings():
            warn(text)
        container_id = secrets.token_hex(32)
        folder = f"{self.folder}/{container_id[:12]}"
        with contextlib.ExitStack() as stack:
            keeper = stack.enter_context(self._connection())
            stack.callback(_remove, folder)
            try:
                os.mkdir(folder, 0o700)
            except OSError as error:
                raise OperationFailed.of("create", folder, error) from error
            spec = step_bundle.specification(request, container_id)
            handle = self.cgroups.create(
                self.group,
                container_id,
                spec.resources,
                parent=self._cgroup_parent(request.cgroup_parent),
                device_rules=devices.rules(spec, devices.nodes(spec)),
            )
            stack.callback(_leave_cgroup, handle)
            self._note(container_id, handle)
            stack.callback(self._forget, container_id)
            path = f"{folder}/{BUNDLE_FILE}"
            made = step_bundle.make(
                spec, request, folder, handle,
                group=self.group, roots=self.roots, apparmor=self._apparmor.name, unified=self.cgroups.unified,
            )  # fmt: skip
            _write(path, json.dumps(made))
            return self._run(keeper, container_id, path, request, output, stack)

    def _cgroup_parent(self, parent: str) -> str:
        """The cgroup for this build's steps below `parent`, noted for those who sweep; "" for our own."""
        if not parent:
            return ""
        check_parent(parent)
        if not self._parent:
            build_folders.note_cgroup(self.roots, self.group, parent)
            self._parent = parent
        return f"{parent}/{self.group}"

    def _note(self, container_id: str, handle: Handle) -> None:
        with self._lock:
            self._running[container_id] = handle

    def _forget(self, container_id: str) -> None:
        with self._lock:
            self._running.pop(container_id, None)

    def _check_wanted(self) -> None:
        """BuildFailed when the build was cancelled before the step's process was in its cgroup."""
        with self._lock:
            if self._cancelled:
                raise BuildFailed("the build was cancelled")

    def _run(
        self,
        keeper: Connection,
        container_id: str,
        path: str,
        request: RunRequest,
        output: Output,
        stack: contextlib.ExitStack,
    ) -> int:
        answer, streams = _ask(keeper, "create", id=container_id, bundle=path)
        for fd in streams:
            os.close(fd)
        pid = answer["pid"]
        # From here on, the process always ends before its cgroup and directory are removed.
        stack.callback(_kill, keeper, container_id, _open(keeper, container_id, pid))
        if request.network_mode not in WITHOUT_NETWORKS and self._make_network:
            try:
                stack.callback(self._outside().connect(self.group, container_id, pid, request.network_mode))
            except EngineError:
                _ask(keeper, "failure", id=container_id)  # the process is gone, and this says why
                raise
        self._check_wanted()
        (descriptor,) = _ask(keeper, "attach", id=container_id)[1]
        keeper.ask("watch")
        with socket.socket(fileno=descriptor) as stream:
            _ask(keeper, "start", id=container_id)
            for number, data in _frames(stream):
                output(data, number)
        while True:
            message = keeper.event()
            if message.get("event") == "exit" and message["id"] == container_id:
                return int(message["exit"]["exit_code"])

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection to the keeper; the first step starts it."""
        with self._lock:
            if self._owner is None:
                self._start()
        keeper = Connection.open(self.roots, self.group)
        try:
            yield keeper
        finally:
            keeper.close()

    def _outside(self) -> Network:
        with self._lock:
            if not self._network:
                assert self._make_network
                self._network.append(self._make_network())
            return self._network[0]

    def _forget_network(self, group: str) -> None:
        if self._make_network:
            self._make_network().forget(group)

    def _begin(self) -> None:
        """Make the build's folder, and launch the keeper. The lock is held."""
        try:
            forget = self._forget_network
            sweep = functools.partial(build_folders.sweep, self.roots, self.cgroups, forget)
            self._marker = build_folders.make(self.roots, self.group, sweep)
        except OSError as error:
            raise OperationFailed.of("create", self.folder, error) from error
        self._launch = Launch(self.roots, self.group)

    def _start(self) -> None:
        """Connect to the keeper, and own it. The lock is held."""
        if self._launch is None:
            self._begin()
        assert self._launch
        with self._launch as launch:
            self._launch = None
            launch.wait()
            self._owner = Connection.open(self.roots, self.group)
        self._keeper = calls.pidfd_open(self._owner.peer)
        self._owner.ask("own")


def _open(keeper: Connection, container_id: str, pid: int) -> int:
    """A pidfd. Raises StartFailed with the keeper's reason when the process has already exited."""
    try:
        return calls.pidfd_open(pid)
    except OperationFailed:
        failure = _ask(keeper, "failure", id=container_id)[0]
        raise StartFailed(failure.get("error", "the process exited early"), exit_code=125) from None


def _ask(keeper: Connection, do: str, **fields: object) -> tuple[Message, list[int]]:
    """Send a request to the keeper; a refusal means that the step could not be started. Raises StartFailed, KeeperLost."""
    try:
        return keeper.ask(do, **fields)
    except (StartFailed, KeeperLost):
        raise
    except EngineError as error:
        raise StartFailed(str(error)) from error


def _frames(stream: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Stream number and data of Docker's attach frames: stream number, three zeros, length, bytes."""
    buffer = b""
    while data := stream.recv(1 << 16):
        buffer += data
        while len(buffer) >= _HEADER:
            end = _HEADER + int.from_bytes(buffer[4:_HEADER], "big")
            if len(buffer) < end:
                break
            yield buffer[0], buffer[_HEADER:end]
            buffer = buffer[end:]


def _kill(keeper: Connection, container_id: str, pidfd: int) -> None:
    """Kill the process unless it has exited, and wait until the keeper has reaped it."""
    with contextlib.suppress(OperationFailed):  # ended and reaped
        calls.pidfd_send_signal(pidfd, signal.SIGKILL)
    readable(pidfd)
    os.close(pidfd)
    with contextlib.suppress(StartFailed, KeeperLost):
        # Each round trip lets the keeper's loop come round, which then collects the process.
        while container_id in {one["id"] for one in keeper.ask("list")[0]["containers"]}:
            pass


def _leave_cgroup(handle: Handle) -> None:
    if not handle.remove():
        handle.kill()
        handle.remove()


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OperationFailed.of("write", path, error) from error


def _remove(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        parent = os.open(os.path.dirname(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_at(parent, os.path.basename(folder))
        finally:
            os.close(parent)
