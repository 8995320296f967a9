"""The engine's side of a keeper's socket: starting one, and an asyncio client for the session."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import engine.rootless.client as rootless
from engine.errors import EngineError, KeeperLost, OperationFailed, StartFailed
from engine.keeper import protocol
from engine.keeper.protocol import Channel, Message
from engine.kernel import calls, flags
from engine.paths import Roots


def start(roots: Roots, group: str) -> None:
    """Start a keeper for the group and wait until it listens. It outlives us (its parent is init, its session its own)."""
    path = roots.keeper_socket(group)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    ready, done = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    log = os.open(f"{os.path.dirname(path)}/keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    tree = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
    # -I -S: nothing of the user's environment, no site-packages: the keeper needs the standard library alone.
    argv = [sys.executable, "-I", "-S", main, tree, path, "3"]
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
    descriptors = (null, null, log, done)
    pid = 0
    try:
        # The keeper forks once itself and the parent leaves, so that nobody has to wait for it.
        if rootless.here():
            rootless.spawn(argv, environment, descriptors)  # from there it may put containers into the user's cgroup
        else:
            actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(descriptors)]
            interpreter = _read_only(sys.executable)
            program = f"/proc/self/fd/{interpreter}" if interpreter >= 0 else sys.executable
            pid = os.posix_spawn(program, argv, environment, file_actions=actions, setsid=True)
            if interpreter >= 0:
                os.close(interpreter)
    except OSError as error:
        raise OperationFailed.of("start the keeper of", group, error) from error
    finally:
        os.close(done)
        os.close(null)
        os.close(log)
    try:
        alive = os.read(ready, 1)
    finally:
        os.close(ready)
    if pid:
        os.waitpid(pid, 0)
    if not alive:
        raise KeeperLost(f"the keeper of {group} did not start", hint=f"See {os.path.dirname(path)}/keeper.log.")


def _read_only(path: str) -> int:
    """The file in a read-only mount of its own, that is nowhere: who gets hold of it by /proc/<pid>/exe, in a container
    with CAP_SYS_PTRACE, cannot write to it (CVE-2019-5736). -1 where we may not mount."""
    try:
        tree = calls.open_tree(flags.AT_FDCWD, path, flags.OPEN_TREE_CLONE)
    except OperationFailed:
        return -1
    try:
        calls.mount_setattr(tree, set_bits=flags.MOUNT_ATTR["ro"])
        return fcntl.fcntl(tree, fcntl.F_DUPFD_CLOEXEC, 10)  # above what the spawned process gets at fixed places
    except OperationFailed:
        return -1
    finally:
        os.close(tree)


class KeeperClient:
    """One connection. Requests may overlap; exits come out of `exits`. Raises KeeperLost when the keeper has gone."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0
        self._waiting: dict[int, asyncio.Future[tuple[Message, list[int]]]] = {}
        self._execs: dict[int, asyncio.Future[int]] = {}
        self._exits: asyncio.Queue[Message | None] = asyncio.Queue()
        self.lost = False
        channel.sock.setblocking(False)
        asyncio.get_running_loop().add_reader(channel.sock, self._read)

    @classmethod
    def connect(cls, roots: Roots, group: str) -> KeeperClient | None:
        """A connection to the group's keeper, None when none listens."""
        try:
            return cls(Channel(protocol.connect(roots.keeper_socket(group))))
        except OSError:
            return None

    async def ask(self, do: str, descriptors: tuple[int, ...] = (), **fields: object) -> tuple[Message, list[int]]:
        """One request and its answer, with the descriptors that came along. Raises EngineError as the keeper says."""
        number, reply = self._send(do, descriptors, fields)
        del number
        return self._checked(*await reply)

    async def execute(self, descriptors: tuple[int, int, int], **fields: object) -> tuple[int, asyncio.Future[int]]:
        """Start a further process: its pidfd, which is the caller's, and its exit code to come."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        number, reply = self._send("exec", descriptors, fields)
        self._execs[number] = ended
        try:
            _, (pidfd,) = self._checked(*await reply)
        except EngineError:
            self._execs.pop(number, None)
            raise
        return pidfd, ended

    async def exits(self) -> AsyncIterator[Message]:
        """Ends of containers; the iteration stops when the keeper has gone."""
        while (message := await self._exits.get()) is not None:
            yield message

    def close(self) -> None:
        if not self.lost:
            self.lost = True
            asyncio.get_running_loop().remove_reader(self._channel.sock)
            self._channel.close()
            self._fail()

    def _send(
        self, do: str, descriptors: tuple[int, ...], fields: dict[str, object]
    ) -> tuple[int, asyncio.Future[tuple[Message, list[int]]]]:
        if self.lost:
            raise KeeperLost("the keeper has gone")
        self._number += 1
        reply: asyncio.Future[tuple[Message, list[int]]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = reply
        try:
            self._channel.send({"n": self._number, "do": do, **fields}, descriptors)
        except OSError as error:
            self.close()
            raise KeeperLost("the keeper has gone") from error
        return self._number, reply

    @staticmethod
    def _checked(message: Message, descriptors: list[int]) -> tuple[Message, list[int]]:
        if "error" not in message:
            return message, descriptors
        for fd in descriptors:
            os.close(fd)
        if "exit_code" in message:
            raise StartFailed(message["error"], exit_code=message["exit_code"])
        raise EngineError(message["error"])

    def _read(self) -> None:
        try:
            open_still = self._channel.feed()
        except BlockingIOError:
            return
        except OSError:
            open_still = False
        while (found := self._take()) is not None:
            message, descriptors = found
            if "re" in message:
                reply = self._waiting.pop(message["re"], None)
                if reply is not None and not reply.done():
                    reply.set_result((message, descriptors))
                    descriptors = []
            elif message.get("event") == "exec":
                ended = self._execs.pop(message["n"], None)
                if ended is not None and not ended.done():
                    ended.set_result(message["exit_code"])
            elif message.get("event") == "exit":
                self._exits.put_nowait(message)
            for fd in descriptors:  # nobody waits for them any more
                os.close(fd)
        if not open_still:
            self.close()

    def _take(self) -> tuple[Message, list[int]] | None:
        try:
            return self._channel.take()
        except ValueError:  # no keeper of ours says such things
            self.close()
            return None

    def _fail(self) -> None:
        error = KeeperLost("the keeper has gone")
        waiting: list[asyncio.Future[Any]] = [*self._waiting.values(), *self._execs.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # retrieved: nobody may be waiting for an exec any more
        self._waiting.clear()
        self._execs.clear()
        self._exits.put_nowait(None)
