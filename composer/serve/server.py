"""The server: a socket that only its owner and group can open, and a task for each client.

Clients are identified by SO_PEERCRED (unix(7)). An internal error is reported to its client and logged, and affects no
other request. The server can be killed at any time: the supervisors have all state.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio
from anyio import to_thread
from anyio.abc import SocketAttribute, SocketStream

from composer.release import VERSION
from composer.serve.access import Access, scoped
from composer.serve.docker.attach import Waiting
from composer.serve.docker.event_journal import Journal
from composer.serve.docker.execs import Execs
from composer.serve.docker.observer import Observer
from composer.serve.docker.rows import Rows
from composer.serve.errors import described_error
from composer.serve.http.connection import Connection
from composer.serve.http.errors import ClientGone, HTTPError
from composer.serve.http.exchange import Exchange
from composer.serve.http.request import Reply, Request
from composer.serve.log import Log
from composer.serve.routes import NEWEST, canonical, find, operation, version_of
from composer.view.snapshot import Snapshots
from engine import temporary_directory
from engine.errors import EngineError
from engine.kernel.allocator import share_one_arena
from engine.kernel.open_files import raise_limit
from engine.paths import make_private

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from composer.run.port import Engine
    from composer.serve.buildkit.control import Builds
    from composer.serve.buildkit.session import Sessions
    from engine.paths import Roots

_API = f"{NEWEST[0]}.{NEWEST[1]}"


THREADS = 512
"""The number of threads that perform builds and pushes. As many can do other work, of which a client that does not read, or
sends slowly, holds up one."""
PER_GROUP = 8
"""The number of threads that ask one group's keeper or supervisor, so that one that does not answer holds up only the
clients of its group."""


class Server:
    """`open_engine` opens an engine for the calling thread, because a database connection belongs to one thread.
    `execs` are those created through this server; `tasks` live as long as the server."""

    tasks: TaskGroup

    def __init__(
        self,
        roots: Roots,
        environ: Mapping[str, str],
        open_engine: Callable[[], Engine],
        *,
        group: int | None = None,
        access: Access | None = None,
    ) -> None:
        self.roots, self.environ, self._group = roots, environ, group
        self.access, self._open_engine = access or Access(), open_engine
        self.log = Log()
        self.engine = self.open_engine()
        self.execs = Execs()
        self.threads = anyio.CapacityLimiter(THREADS)
        self.keepers: dict[str, anyio.CapacityLimiter] = defaultdict(partial(anyio.CapacityLimiter, PER_GROUP))
        self.waiting = Waiting()
        self.journal = Journal()
        self.observer = Observer(self.engine, roots, self.journal)
        self.snapshots = Snapshots(self.engine)
        self.rows = Rows()
        self.bridge = -1
        """The descriptor that holds the network `bridge`, -1 for none."""
        self._uids = {0, os.geteuid()}

    def open_engine(self) -> Engine:
        """An engine for another thread, restricted to what clients may see."""
        return scoped(self._open_engine(), self.access.project)

    @cached_property
    def sessions(self) -> Sessions:
        from composer.serve.buildkit.session import Sessions  # h2 takes 4 MB

        return Sessions()

    @cached_property
    def builds(self) -> Builds:
        from composer.serve.buildkit.control import Builds

        return Builds()

    @property
    def upload_folder(self) -> str:
        """The directory of temporary directories for what build clients send."""
        make_private(self.roots.builds)
        return self.roots.builds

    async def run(self, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve until SIGINT or SIGTERM."""
        share_one_arena()
        raise_limit()
        temporary_directory.sweep(self.upload_folder)
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with anyio.create_task_group() as tasks:
            self.tasks = tasks
            tasks.start_soon(self.observer.run)
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async with await anyio.abc.SocketListener.from_socket(listener) as serving:
                    tasks.start_soon(serving.serve, self._client)
                    ready()
                    async for _ in signals:
                        tasks.cancel_scope.cancel()
        self.log.close()

    def close(self) -> None:
        """Release the server's resources after it has ended."""
        if self.bridge >= 0:
            with contextlib.suppress(EngineError):
                self.engine.release_default_network(self.bridge)

    async def _client(self, stream: SocketStream) -> None:
        async with stream:
            peer = stream.extra(SocketAttribute.raw_socket)
            pid, uid, gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            admitted = self._admits(pid, uid, gid)
            self.log(f"{'admitted' if admitted else 'refused'}: process {pid} of user {uid}, group {gid}")
            if not admitted:
                return
            try:
                await Connection(stream, self.handle, server=f"Composer/{VERSION} (linux)").serve()
            except ClientGone:
                return

    def _admits(self, pid: int, uid: int, gid: int) -> bool:
        """Whether the peer may use the socket: the owner, root, or members of the socket's group."""
        if uid in self._uids:
            return True
        return self._group is not None and (gid == self._group or self._group in _groups_of(pid))

    async def handle(self, request: Request, exchange: Exchange) -> Reply | None:
        """Answer one request. Unexpected errors are logged with the request and answered with 500."""
        exchange.extra |= {"Api-Version": _API, "Docker-Experimental": "false", "Ostype": "linux"}
        try:
            if (path := canonical(request.path)) != request.path:
                return Reply(
                    status=301, headers={"Location": quote(path) + (f"?{request.text}" if request.text else "")}
                )
            request.check_query()
            request.path, request.version = version_of(path)
            target = find(request)
            self.access.check(request, target)
            return await operation(target)(self, request, exchange)
        except (HTTPError, ClientGone):
            raise
        except Exception as error:
            described = described_error(error)
            if described.status == 500 and not isinstance(error, EngineError):
                self.log(f"{request.method} {request.path!r}:\n{traceback.format_exc().rstrip()}")
            raise described from None


def _groups_of(pid: int) -> set[int]:
    """A process's supplementary groups (proc_pid_status(5)); none if it has exited."""
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("Groups:"):
                    return {int(group) for group in line.split()[1:]}
    except OSError:
        pass
    return set()
