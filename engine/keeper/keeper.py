"""The keeper: forks a group's containers and owns what they leave behind. main.py starts it.

Single-threaded, one epoll loop, standard library and engine.kernel only: it does so little that it does not crash.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import time

from engine import control
from engine.errors import EngineError, StartFailed
from engine.keeper import execution as executions
from engine.keeper import origin
from engine.keeper.attachments import Attachments
from engine.keeper.child import kernel_settings
from engine.keeper.container import Container
from engine.keeper.execution import Execution
from engine.keeper.failures import Failures
from engine.keeper.idleness import Idleness
from engine.keeper.output import Outputs
from engine.keeper.protocol import VERSION, Channel, Message
from engine.keeper.respawn import Respawn
from engine.keeper.shipping import Shipping
from engine.kernel import calls, flags

TYPE_CHECKING = False  # of typing, which a keeper need not load
if TYPE_CHECKING:
    from typing import Any

_REMEMBERED = 100
"""Containers that died while they were made, whose reason may be asked for."""

REQUESTS = 0.01
"""Seconds of requests of one client in a turn."""

END_PAUSE = 0.1
"""Seconds until the last output of a container is tried again that could not be recorded."""

ACCEPT_PAUSE = 0.1
"""Seconds in which no connection is taken after descriptors ran out."""

LAST_WORDS = 60.0
"""Seconds that those attached have to take the rest of the output before the keeper leaves."""


class Client:
    def __init__(self, sock: socket.socket) -> None:
        self.channel = Channel(sock)
        self.watching = False
        self.supervises = False
        self.owns = False
        self.attached: set[str] = set()


class Keeper:
    def __init__(self, path: str) -> None:
        self.path = path
        self.loop = selectors.EpollSelector()
        self.outputs = Outputs()
        self.shipping = Shipping(self.loop)
        self.attachments = Attachments(self.loop)
        self.containers: dict[str, Container] = {}
        self.failed_creates: dict[str, Message] = {}
        self.execs: dict[int, Execution] = {}
        self.clients: set[Client] = set()
        self.backlog: set[Client] = set()
        self.supervisor = Respawn()
        self.accept_at = 0.0
        self.deaf: socket.socket | None = None
        self.ending: list[tuple[Container, int | None]] = []
        self.end_at = 0.0
        self.failures = Failures()
        self.leaving = False
        self.abandoned = False
        self.idleness = Idleness(self.loop)

    def run(self, ready: int) -> None:
        """`ready`: a socket that gets a byte when we listen, and is open as long as whoever started us may still connect."""
        calls.prctl(flags.PR_SET_CHILD_SUBREAPER, 1)
        calls.set_name("composer-keeper")
        origin.forget()
        kernel_settings.raise_descriptors()
        # A child writes to what it collects, and each page that it writes to is copied: what is there now stays for good,
        # and collections are rare.
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        gc.enable()
        wake, sleep = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(sleep, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        lock = control.claim(self.path, VERSION)
        if lock is None:
            os.write(ready, b"1")
            return  # whoever started us finds the one that is there
        listener = control.listen(self.path)
        listener.setblocking(False)
        self.loop.register(listener, selectors.EVENT_READ, self._accept)
        self.loop.register(wake, selectors.EVENT_READ, self._reap)
        self.loop.register(self.outputs, selectors.EVENT_READ, lambda _: None)
        if ready >= 0:
            self.idleness.expect(ready)
        while not self.leaving:
            self._turn(0 if self.outputs.busy or self.backlog else self._timeout())
            for care in (self._respawn, self._hear, self._end, self._idle, self.shipping.tend):
                try:
                    care()
                except Exception:
                    self.failures.survive()
        self.shipping.leave()
        for path in (self.path, control.lock_of(self.path)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        os.close(lock)
        deadline = time.monotonic() + LAST_WORDS
        while self.attachments.parting and (left := deadline - time.monotonic()) > 0:
            self._turn(left)

    def _turn(self, timeout: float | None) -> None:
        """Answer everybody once. What fails on one descriptor is told in our log and does not end us."""
        for key, _ in self.loop.select(timeout):
            # An earlier callback of this round may have closed it.
            if key.fd in self.loop.get_map():
                try:
                    key.data(key.fileobj)
                except Exception:
                    self.failures.survive()
        for client in list(self.backlog):
            try:
                self._read_client(client)
            except Exception:
                self.failures.survive()
        try:
            self.outputs.turn()
        except Exception:
            self.failures.survive()

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptors or no memory: who connects waits in the socket's queue
            self.loop.unregister(listener)
            self.deaf, self.accept_at = listener, time.monotonic() + ACCEPT_PAUSE
            return
        if not control.peer_is_us(sock):
            sock.close()
            return
        sock.setblocking(False)
        client = Client(sock)
        self.clients.add(client)
        self.loop.register(sock, selectors.EVENT_READ, lambda _: self._read_client(client))

    def _read_client(self, client: Client) -> None:
        """Answers that wait, then requests; these only for a while, lest many of them hold up everybody's output."""
        channel = client.channel
        open_still = True
        self.backlog.discard(client)
        try:
            if channel.waiting and channel.flush():
                self.loop.modify(channel.sock, selectors.EVENT_READ, lambda _: self._read_client(client))
            try:
                open_still = channel.feed()
            except BlockingIOError:
                pass
            until = time.monotonic() + REQUESTS
            while (found := channel.take()) is not None:
                self._handle(client, *found)
                if client not in self.clients:
                    return
                if open_still and time.monotonic() > until:
                    self.backlog.add(client)
                    return
        except (OSError, ValueError):
            open_still = False
        if not open_still:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        if client not in self.clients:
            return
        self.clients.discard(client)
        self.backlog.discard(client)
        self.loop.unregister(client.channel.sock)
        client.channel.close()
        if client.owns:
            self.abandoned = True
            for container in self.containers.values():
                with contextlib.suppress(EngineError):  # it has ended
                    container.signal(signal.SIGKILL)
            self.leaving = not self.containers
        if client.supervises and self.containers:
            self.supervisor.lost()

    def _send(self, client: Client, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        if client not in self.clients:
            return
        try:
            if not client.channel.post(message, descriptors):
                both = selectors.EVENT_READ | selectors.EVENT_WRITE
                self.loop.modify(client.channel.sock, both, lambda _: self._read_client(client))
        except OSError:
            self._drop(client)

    def _handle(self, client: Client, message: Message, descriptors: list[int]) -> None:
        number = message.get("n", 0)

        def answer(reply: Message, fds: tuple[int, ...] = ()) -> None:
            if number:
                self._send(client, {"re": number, **reply}, fds)

        try:
            action = getattr(self, f"do_{message.get('do', '')}", None)
            if action is None:
                raise EngineError(f"the keeper does not know the request {message.get('do')!r}")
            action(client, message, descriptors, answer)
        except StartFailed as error:
            answer({"error": str(error), "exit_code": error.exit_code})
        except EngineError as error:
            answer({"error": str(error), "errno": getattr(error, "errno", 0)})
        except Exception as error:  # a request that makes no sense must not end us
            answer({"error": f"{type(error).__name__}: {error}", "errno": getattr(error, "errno", 0) or 0})
        finally:
            for fd in descriptors:
                os.close(fd)

    def _container(self, message: Message) -> Container:
        try:
            return self.containers[message["id"]]
        except KeyError:
            if died := self.failed_creates.get(message.get("id", "")):
                raise StartFailed(died["error"], exit_code=died.get("exit_code", 125)) from None
            raise EngineError(f"container {str(message.get('id'))[:12]} is not running") from None

    def _new(self, message: Message) -> Container:
        def waits(waiting: bool) -> None:
            self.attachments.input_waits(container, waiting)

        bundle = _bundle(message["bundle"])
        try:
            container = Container(message["id"], bundle, self.outputs, self.shipping.compress, waits)
        except OSError:
            if message["do"] != "adopt":
                raise
            self.failures.survive()  # better without a log than not at all
            container = Container(
                message["id"], bundle | {"log": {"format": ""}}, self.outputs, self.shipping.compress, waits
            )
        return container

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────

    def do_create(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        if message["id"] in self.containers:
            raise EngineError(f"container {message['id'][:12]} is already running")
        container = self._new(message)
        try:
            container.fork()
        except BaseException:
            container.close()
            raise
        self.containers[container.id] = container
        self.shipping.ship(container)
        assert container.child
        self.loop.register(container.child, selectors.EVENT_READ, lambda _: self._read_child(container))

        def made() -> None:
            kept = () if container.tty else container.kept_streams
            answer({"pid": container.pid, "pid_start": container.pid_start}, kept)

        if container.start:
            container.on_made = made
        else:
            made()

    def do_start(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        container = self._container(message)
        if container.on_made:
            raise EngineError(f"container {container.id[:12]} is still being made")

        def started(failure: Message | None) -> None:
            answer(failure or {"pid": container.pid})

        container.on_started = started
        if container.failure:
            return
        try:
            kernel_settings.limit(container.bundle["process"], container.pid)
        except EngineError as error:
            container.failure = {"error": str(error), "exit_code": 125}
            container.signal(signal.SIGKILL)
            return
        if container.child:
            with contextlib.suppress(OSError):  # it has just ended: what it said of that is still to be read
                container.child.send({"event": "start"})

    def do_failure(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        container = self.containers.get(message["id"])
        while container and container.child and self._read_child(container):
            pass
        if container and not container.executed and (container.killed or not container.child):
            container.on_failure.append(answer)  # how it ends is not known yet
            return
        answer((container and container.failure) or self.failed_creates.get(message["id"]) or {})

    def do_signal(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        self._container(message).signal(message["signal"])
        answer({})

    def do_sockets(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        container = self._container(message)
        made = container.on_made is None
        if made and (container.dns or container.executed or container.bundle.get("dns") is None):
            answer({}, tuple(container.dns))
        else:
            container.on_sockets = answer

    def do_terminal(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        container = self._container(message)
        if container.tty and container.master < 0 and container.child:
            container.on_terminal.append(lambda: self.do_terminal(client, message, fds, answer))
            return
        answer({}, container.kept_streams)

    def do_list(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        answer(
            {
                "containers": [
                    {"id": c.id, "pid": c.pid, "pid_start": c.pid_start, "executed": c.executed, "adopted": c.adopted}
                    for c in self.containers.values()
                ]
            }
        )

    def do_watch(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        client.watching = True
        answer({})

    def do_supervise(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        argv, environment = message["argv"], message["env"]
        if not argv or not all(isinstance(word, str) for word in (*argv, *environment, *environment.values())):
            raise EngineError("supervise needs a command line and variables")
        self.supervisor.know(argv, environment)
        client.supervises = True
        answer({})

    def do_goodbye(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        client.supervises = False
        answer({})

    def do_leave(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        if self.containers:
            raise EngineError(f"{len(self.containers)} containers are alive")
        self.leaving = True
        answer({})

    def do_own(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        client.owns = True
        answer({})

    def do_resize(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        import fcntl
        import struct
        import termios

        master = self._container(message).master
        if master >= 0:
            size = struct.pack("4H", message["rows"], message["columns"], 0, 0)
            fcntl.ioctl(master, termios.TIOCSWINSZ, size)
        answer({})

    def do_attach(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        container = self._container(message)
        if container.bundle["process"]["tty"] and container.master < 0 and container.child:
            # Its pseudo-terminal is just being made.
            container.on_terminal.append(lambda: self.do_attach(client, message, fds, answer))
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        client.attached.add(container.id)
        self.attachments.attach(container, ours, stdin=bool(message.get("stdin")))
        answer({}, (theirs.fileno(),))
        theirs.close()

    def do_adopt(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        """Take over a container that a dead keeper left running."""
        if message["id"] in self.containers:
            answer({"pid": self.containers[message["id"]].pid})
            return
        pid, pid_start = message["pid"], message["pid_start"]
        pidfd = os.dup(fds[0]) if fds else calls.pidfd_open(pid)
        try:
            if not fds and calls.start_time(pid) != pid_start:
                raise EngineError(f"process {pid} is another one now")
            container = self._new(message)
        except BaseException:
            os.close(pidfd)
            raise
        container.pid, container.pidfd, container.pid_start = pid, pidfd, pid_start
        container.adopted = container.executed = True
        if not container.tty:
            container.adopt_streams(fds[1:])
        elif len(fds) > 1:
            container.use_terminal(os.dup(fds[1]))
        elif container.log:
            container.log.note("the keeper of this container was killed, and its terminal ended with it")
        self.containers[container.id] = container
        self.shipping.ship(container)
        self.loop.register(pidfd, selectors.EVENT_READ, lambda _: self._ended(container, None))
        answer({"pid": container.pid})

    def do_exec(self, client: Client, message: Message, fds: list[int], answer: Any) -> None:
        execution = executions.fork(self._container(message), message, client, answer)
        self.execs[execution.pid] = execution
        self.loop.register(execution.child, selectors.EVENT_READ, lambda _: self._read_exec(execution))

    # ── children ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_child(self, container: Container) -> bool:
        """Take what the child says about its start; False when it says nothing now."""
        assert container.child
        try:
            open_still = container.child.feed()
        except BlockingIOError:
            return False
        except OSError:
            open_still = False
        while (found := container.child.take()) is not None:
            message, descriptors = found
            if message["event"] == "sockets":
                container.dns = descriptors
                if not container.start:  # a script's are the container's when it is ready
                    container.tell_sockets()
            elif message["event"] == "terminal":
                container.use_terminal(descriptors[0])
                container.tell_terminal()
            elif message["event"] == "ready":
                container.proceed()
                if not container.unscripted:
                    container.tell_made()
                    container.tell_sockets()
            elif message["event"] == "failed":
                container.failure = {"error": message["error"], "exit_code": message["exit_code"]}
        if not open_still:
            self.loop.unregister(container.child)
            container.hung_up()
            if container.unscripted:
                return True  # its end is what is waited for: see _reap
            container.tell_made()
            container.tell_terminal()
            container.tell_sockets()
            if container.on_started and container.executed:
                container.on_started(None)
                container.on_started = None
            # Otherwise it ends now, and the answer comes when nothing is written into its folder any more.
        return True

    def _make_again(self, container: Container) -> None:
        """By a fork, as the script has met what it cannot do."""
        try:
            container.again()
        except (OSError, EngineError) as error:
            container.failure = {"error": str(error), "exit_code": 125}
        else:
            assert container.child
            self.loop.register(container.child, selectors.EVENT_READ, lambda _: self._read_child(container))
            container.tell_made()

    def _read_exec(self, execution: Execution) -> None:
        if not execution.answered and not execution.read():
            self._settle(execution)

    def _settle(self, execution: Execution) -> None:
        if not execution.answered:
            self.loop.unregister(execution.child)
            execution.settle()

    def _reap(self, wake: int) -> None:
        try:
            while os.read(wake, 512):
                pass
        except BlockingIOError:
            pass
        by_pid = {c.pid: c for c in self.containers.values() if not c.adopted}
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            pid = found.si_pid
            if container := by_pid.get(pid):
                while container.start and container.child and self._read_child(container):
                    pass
                if container.unscripted and not container.killed:
                    self._make_again(container)
                    by_pid[container.pid] = container
            if container and container.pid == pid:
                # A zombie until its end is on record: nobody may find it gone and its exit code unknown.
                self._ended(container, found.si_status << (8 if found.si_code == os.CLD_EXITED else 0))
            _, status = os.waitpid(pid, 0)
            if pid in by_pid:
                continue
            if pid == self.shipping.pid:
                self.shipping.died()
            elif execution := self.execs.pop(pid, None):
                self._read_exec(execution)
                self._settle(execution)
                code = os.waitstatus_to_exitcode(status)
                code = code if code >= 0 else 128 - code
                self._send(execution.owner, {"event": "exec", "n": execution.number, "exit_code": code})

    def _ended(self, container: Container, status: int | None) -> None:
        if not container.finish():
            self.ending.append((container, status))
            self.end_at = time.monotonic() + END_PAUSE
            return
        while container.child and self._read_child(container):
            pass  # to the end of the stream, which says whether it was executed
        if container.adopted and container.pidfd in self.loop.get_map():
            self.loop.unregister(container.pidfd)
        if container.child:
            self.loop.unregister(container.child)
        container.tell_made()
        container.tell_sockets()
        del self.containers[container.id]
        self.leaving = self.leaving or (self.abandoned and not self.containers)
        never_ran = not container.executed
        record = container.ended(status)
        self.shipping.ended(container)
        self.attachments.ended(container)
        failure = container.never_ran(status)
        for answer in container.on_failure:
            answer(failure)
        if container.on_started:
            container.on_started(failure)
        elif never_ran:
            self.failed_creates[container.id] = failure
            for forgotten in list(self.failed_creates)[:-_REMEMBERED]:
                del self.failed_creates[forgotten]
        for client in list(self.clients):
            if container.id in client.attached or (client.watching and not never_ran):
                client.attached.discard(container.id)
                self._send(client, {"event": "exit", "id": container.id, "exit": record})

    # ── what comes later ─────────────────────────────────────────────────────────────────────────────────────────

    def _end(self) -> None:
        """Again those whose last output could not be recorded for want of memory."""
        if self.end_at and time.monotonic() >= self.end_at:
            self.end_at, ending, self.ending = 0.0, self.ending, []
            for container, status in ending:
                self._ended(container, status)

    def _idle(self) -> None:
        working = bool(self.containers or self.clients or self.execs or self.leaving)
        self.leaving = self.idleness.tend(working, self.path) or self.leaving

    def _timeout(self) -> float | None:
        moments = (
            self.supervisor.due,
            self.accept_at,
            self.end_at,
            self.idleness.due,
            self.shipping.due,
            self.outputs.due,
        )
        due = [moment for moment in moments if moment]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _hear(self) -> None:
        """Take connections again after a pause."""
        if self.deaf and time.monotonic() >= self.accept_at:
            self.loop.register(self.deaf, selectors.EVENT_READ, self._accept)
            self.deaf, self.accept_at = None, 0.0

    def _respawn(self) -> None:
        self.supervisor.tend(bool(self.containers) and not any(client.supervises for client in self.clients))


def _bundle(path: str) -> dict[str, Any]:
    import json

    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found
