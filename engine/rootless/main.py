"""The process that keeps a user's namespace: `python -I -S main.py TREE RUN_ROOT READY_FD`. One a user, outside of it.

    other process                                       we
      │  {"do": "join"}                                  │
      │ ───────────────────────────────────────────────▶ │
      │      {"cgroup", "resolv_conf"} + 3 descriptors   │  user, mount and network namespace
      │ ◀─────────────────────────────────────────────── │
      │  {"do": "spawn", "argv", "env"} + descriptors    │  run it inside, in our cgroup, with these as 0, 1, 2 …
      │  {"do": "bind", "family", "kind", "protocol", "address", "port"}
      │      {} + 1 descriptor                           │  a bound socket of the host's network
      │  {"do": "version"}                               │

Frames are those of engine.keeper.protocol; a failed request is answered with "error" and "errno". When the namespace
has been empty for some seconds, this process exits, and the namespace ends; if it is killed, the next command finds the
namespace by the state file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Mapping

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from engine import atomic, control
from engine.errors import EngineError
from engine.keeper.protocol import Channel, Message
from engine.kernel import calls
from engine.paths import ROOTLESS_SOCKET
from engine.rootless import cgroup, namespace, uplink

TYPE_CHECKING = False  # of typing, which this process does not load
if TYPE_CHECKING:
    from typing import Any

    from engine.rootless.messages import Bind, Joined, Plain, Spawn, Spawned, Version

LINGER = 1.5
"""Seconds that the empty namespace is kept, for the next command of the same script."""


class Host:
    """Serves one namespace until it is empty."""

    def __init__(self, run_root: str) -> None:
        self.run_root = run_root
        self.path = f"{run_root}/{ROOTLESS_SOCKET}"
        self.cgroup = cgroup.delegated()
        self.space = namespace.adopt(self.state_file) or namespace.make(run_root)
        self.network, self.no_network = uplink.start(self.space, run_root)
        state = {"pid": self.space.pid, "start": calls.start_time(self.space.pid)}
        atomic.replace(self.state_file, json.dumps(state).encode())
        self.loop = selectors.DefaultSelector()
        self.clients: set[Channel] = set()
        self.process_inside = -1

    @property
    def state_file(self) -> str:
        return f"{self.run_root}/rootless.json"

    def listen(self) -> None:
        listener = control.listen(self.path)
        listener.setblocking(False)
        self.loop.register(listener, selectors.EVENT_READ, self._accept)

    def serve(self) -> None:
        empty = False
        while True:
            events = self.loop.select(None if self.clients or self.process_inside >= 0 else LINGER)
            for key, _ in events:
                key.data(key.fileobj)
            _reap()
            if not self.clients and self.process_inside < 0:
                self._look()
                if self.process_inside < 0 and empty and not events:
                    return
                empty = self.process_inside < 0

    def end(self) -> None:
        """Close the socket: waiting clients find it closed and create another namespace."""
        for name in (self.path, self.state_file):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        if self.network:
            self.network.close()
        self.space.end()

    def _look(self) -> None:
        """Wait for a process inside to exit, instead of polling."""
        while pid := self.space.process_inside():
            try:
                pidfd = calls.pidfd_open(pid)
            except EngineError:
                continue  # it has just exited
            self.process_inside = pidfd
            self.loop.register(pidfd, selectors.EVENT_READ, self._on_exit)
            return

    def _on_exit(self, pidfd: int) -> None:
        self.loop.unregister(pidfd)
        os.close(pidfd)
        self.process_inside = -1

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        if not control.peer_is_us(sock):
            sock.close()
            return
        sock.setblocking(False)
        channel = Channel(sock)
        self.clients.add(channel)
        self.loop.register(channel, selectors.EVENT_READ, self._read)

    def _read(self, channel: Channel) -> None:
        try:
            open_still = channel.feed()
            while (found := channel.take()) is not None:
                self._handle(channel, *found)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            open_still = False
        if not open_still:
            self.clients.discard(channel)
            self.loop.unregister(channel)
            channel.close()

    def _handle(self, channel: Channel, message: Message, descriptors: list[int]) -> None:
        actions: dict[str, Callable[[Any, list[int]], tuple[Mapping[str, object], tuple[int, ...]]]]
        actions = {"join": self._join, "spawn": self._spawn, "bind": self._bind, "version": self._version}
        try:
            answer, sent = actions[message["do"]](message, descriptors)
            channel.send(answer, sent)
            if message["do"] == "bind":
                os.close(sent[0])
        except (EngineError, OSError, KeyError, TypeError, ValueError) as error:
            text = getattr(error, "strerror", None) or str(error)
            channel.send({"error": text, "errno": getattr(error, "errno", 0) or 0})
        finally:
            for fd in descriptors:
                os.close(fd)

    def _version(self, message: Plain, descriptors: list[int]) -> tuple[Version, tuple[()]]:
        return {"no_network": self.no_network}, ()

    def _join(self, message: Plain, descriptors: list[int]) -> tuple[Joined, tuple[int, ...]]:
        return {"cgroup": self.cgroup, "resolv_conf": f"{self.run_root}/resolv.conf"}, self.space.descriptors

    def _spawn(self, message: Spawn, descriptors: list[int]) -> tuple[Spawned, tuple[()]]:
        argv, environment = [str(word) for word in message["argv"]], dict(message["env"])
        pid = os.fork()
        if pid:
            return {"pid": pid}, ()
        try:
            os.setsid()
            self.space.enter()
            # Move them away from 0, 1, 2 … first.
            spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in descriptors]
            for number, fd in enumerate(spare):
                os.dup2(fd, number)
            os.execve(argv[0], argv, environment)
        except BaseException as error:
            print(f"{argv[0]}: {error}", file=sys.stderr)
        os._exit(127)

    def _bind(self, message: Bind, descriptors: list[int]) -> tuple[Plain, tuple[int, ...]]:
        sock = socket.socket(message["family"], message["kind"], message["protocol"])
        try:
            if message["family"] == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if message["kind"] == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((message["address"], message["port"]))
        except BaseException:
            sock.close()
            raise
        return {}, (sock.detach(),)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main(argv: list[str]) -> None:
    run_root, ready = argv[2], int(argv[3])
    os.set_inheritable(ready, False)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    namespace.name_process("composer-host")
    try:
        host = Host(run_root)
        host.listen()
    except Exception as error:
        os.write(ready, f"!{error}".encode())
        raise SystemExit(1) from None
    os.write(ready, b"1")
    os.close(ready)
    try:
        host.serve()
    finally:
        host.end()


if __name__ == "__main__":
    main(sys.argv)
