"""RUN --mount=type=ssh: a separate socket that forwards to the agent, so that it can have the requested owner and mode.

step ──► <run>/build-…/ssh-<random> (owner, mode of the mount) ──► SSH_AUTH_SOCK, or an ssh-agent(1) that holds key files
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

from engine.errors import BuildFailed, OperationFailed, Unsupported
from engine.filetree import attributes

_CHUNK = 1 << 16


def serve(
    stack: contextlib.ExitStack, folder: str, sources: Sequence[str], *, owner: tuple[int, int], mode: int
) -> str:
    """Create a socket in `folder`, an empty directory, that forwards to the agent: `sources` is one agent's socket, or
    key files. Returns its path; `stack` ends it. Raises BuildFailed for an invalid source, Unsupported without
    ssh-agent(1)."""
    upstream = _upstream(stack, folder, sources)
    # A socket's address has room for 107 bytes, a folder's name may be longer: we go through its descriptor.
    inside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, inside)
    path = f"{folder}/ssh"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stack.callback(listener.close)
    try:
        listener.bind(f"/proc/self/fd/{inside}/ssh")
        with attributes.path_of_entry(inside, "ssh", stat.S_IFSOCK) as file:
            attributes.apply(file, owner=owner, mode=mode, xattrs={}, mtime=None)
        listener.listen()
    except OSError as error:
        raise OperationFailed.of("listen on", path, error) from error
    stop, stopped = socket.socketpair()
    stack.callback(stopped.close)
    thread = threading.Thread(target=_relay, args=(listener, stopped, upstream), name="ssh-agent", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(stop.close)
    stack.callback(os.unlink, path)
    return path


def _upstream(stack: contextlib.ExitStack, folder: str, sources: Sequence[str]) -> str:
    for source in sources:
        try:
            kind = os.stat(source).st_mode
        except OSError as error:
            raise OperationFailed.of("open ssh agent or key", source, error) from error
        if stat.S_ISSOCK(kind):
            if len(sources) > 1:
                raise BuildFailed(f"ssh: {source} is an agent's socket, which cannot be combined with other sources")
            return source
        if not stat.S_ISREG(kind):
            raise BuildFailed(f"ssh: {source} is neither an agent's socket nor a key file")
    _agent(stack, folder, sources)
    inside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, inside)
    return f"/proc/self/fd/{inside}/agent"


def _agent(stack: contextlib.ExitStack, folder: str, keys: Sequence[str]) -> None:
    """An agent of our own that holds the keys, at the socket `agent` in `folder`."""
    if not shutil.which("ssh-agent") or not shutil.which("ssh-add"):
        raise Unsupported(
            "ssh key files need ssh-agent and ssh-add", hint="Install OpenSSH's client, or name an agent's socket."
        )
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", "agent"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert agent.stdout
    stack.callback(agent.wait)
    stack.callback(agent.terminate)
    stack.callback(agent.stdout.close)
    agent.stdout.readline()  # it prints the socket's path once the socket exists
    for key in keys:
        with _opened(key) as file:  # from standard input: ssh-add(1) refuses a file that others may read
            added = subprocess.run(
                ["ssh-add", "-q", "-"],
                cwd=folder,
                env={**os.environ, "SSH_AUTH_SOCK": "agent", "SSH_ASKPASS_REQUIRE": "never"},
                stdin=file,
                capture_output=True,
                text=True,
                check=False,
            )
        if added.returncode:
            raise BuildFailed(
                f"ssh: cannot load the key {key}: {added.stderr.strip()}",
                hint="Load a key with a passphrase into an agent, and name the agent's socket.",
            )


def _opened(key: str) -> IO[bytes]:
    try:
        return open(key, "rb")
    except OSError as error:
        raise OperationFailed.of("open ssh agent or key", key, error) from error


def _connected(listener: socket.socket, upstream: str) -> tuple[tuple[socket.socket, socket.socket], ...]:
    """Accept a client and connect it to the agent: each end with the other, nothing if the agent does not answer."""
    client, agent = listener.accept()[0], socket.socket(socket.AF_UNIX)
    try:
        agent.connect(upstream)
    except OSError:
        client.close()
        agent.close()
        return ()
    return (client, agent), (agent, client)


def _relay(listener: socket.socket, stopped: socket.socket, upstream: str) -> None:
    """Carry bytes between each connection and one of its own to the agent, until `stopped` ends."""
    peers: dict[socket.socket, socket.socket] = {}

    def drop(one: socket.socket) -> None:
        for end in (one, peers.pop(one)):
            peers.pop(end, None)
            selector.unregister(end)
            end.close()

    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(stopped, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is stopped:
                    for end in list(peers):
                        end.close()
                    return
                if ready is listener:
                    for end, other in _connected(listener, upstream):
                        peers[end] = other
                        selector.register(end, selectors.EVENT_READ)
                elif ready in peers:
                    try:
                        data = ready.recv(_CHUNK)
                        if data:
                            peers[ready].sendall(data)
                            continue
                    except OSError:
                        pass
                    drop(ready)
