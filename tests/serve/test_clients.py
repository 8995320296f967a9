"""Many clients at once, slow ones, and a server that is killed: no other client notices, and nothing is left behind."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from tests.serve.conftest import Api, serving

GET = b"GET /containers/json?all=1 HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = 20
MANY = 200
EXECS = 40


@contextlib.contextmanager
def sockets(api, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(api.connect())) for _ in range(count)]


def test_200_clients_at_once(api):
    """Each is answered, with little memory, including a second request on each connection."""
    with sockets(api, MANY) as clients:
        pid = struct.unpack("3i", clients[0].getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]  # the listener
        for _ in range(2):
            for client in clients:
                client.sendall(GET)
            for client in clients:
                assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            own = [int(line.split()[1]) for line in file if line.startswith("Private_")]
        assert sum(own) <= 40 * 1024


def test_200_clients_follow_one_log_and_see_its_end(api):
    """More than a user may have inotify instances by default (fs.inotify.max_user_instances is 128)."""
    api(
        "POST",
        "/containers/create?name=many",
        {"Image": "busybox", "Cmd": ["sh", "-c", "read x; echo end"], "OpenStdin": True},
    )
    api("POST", "/containers/many/start")
    try:
        with sockets(api, MANY) as clients:
            for client in clients:
                client.sendall(b"GET /containers/many/logs?stdout=1&follow=1 HTTP/1.0\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.0 200 OK")
            with api.connect() as typed:
                head = b"POST /containers/many/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: x\r\n"
                typed.sendall(head + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n\n")
                for client in clients:
                    said = b""
                    while part := client.recv(65536):
                        said += part
                    assert said.endswith(b"end\n")
    finally:
        api("DELETE", "/containers/many?force=1")


def test_200_attached_clients_that_vanish_and_many_execs_leave_nothing(api):
    """Neither descriptors, which would run out, nor more threads than one group gets."""
    api("POST", "/containers/create?name=quiet", {"Image": "busybox", "Cmd": ["sleep", "1000"]})
    api("POST", "/containers/quiet/start")
    try:
        with sockets(api, 1) as (client,):
            folder = f"/proc/{struct.unpack('3i', client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]}"
        before = len(os.listdir(f"{folder}/fd"))
        attach = b"POST /containers/quiet/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n"
        with sockets(api, MANY) as clients:
            for client in clients:
                client.sendall(attach + b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
            for client in clients:
                assert client.recv(65536).startswith(b"HTTP/1.1 101 UPGRADED")
        command = {"Cmd": ["sh", "-c", "read line; echo $line"], "AttachStdin": True, "AttachStdout": True}
        ids = [api("POST", "/containers/quiet/exec", command)["Id"] for _ in range(EXECS)]
        with sockets(api, EXECS) as clients:
            for client, one in zip(clients, ids, strict=True):
                start = f"POST /exec/{one}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                client.sendall(start.encode() + b"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}")
            for client in clients:
                client.sendall(b"all\n")
            threads = len(os.listdir(f"{folder}/task"))
            for client in clients:
                said = b""
                while part := client.recv(65536):
                    said += part
                assert said.endswith(b"all\n")
        assert threads <= 16
        while len(os.listdir(f"{folder}/fd")) > before + 8:
            pass
    finally:
        api("DELETE", "/containers/quiet?force=1")


def test_slow_clients_delay_no_other(api):
    """Some never read, some send a byte now and then, some stop in the middle of an upload."""
    with sockets(api, SLOW) as clients:
        for number, client in enumerate(clients):
            if number % 4 == 0:
                client.sendall(b"GET /containers/json HTT")
            elif number % 4 == 1:
                client.sendall(
                    b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + bytes(512)
                )
            elif number % 4 == 2:
                client.sendall(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
                client.sendall(b"Transfer-Encoding: chunked\r\n\r\n5\r\n{")
            else:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        client.send(GET)
        for _ in range(50):
            assert isinstance(api.get("/containers/json"), list)
    assert api.raw("GET", "/_ping")[2] == b"OK"


def test_clients_waiting_for_threads_delay_no_other(api):
    """More uploads than the default number of threads, of which each occupies one."""
    with sockets(api, 1) as (client,):
        pid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def pipes():
        folder = f"/proc/{pid}/fd"
        return sum(os.readlink(f"{folder}/{fd}").startswith("pipe:") for fd in os.listdir(folder) if fd.isdigit())

    def state():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            return pipes()
        return -1

    before = state()
    with sockets(api, 60) as clients:
        for client in clients:
            client.sendall(b"POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
        while state() < before + 120:
            pass
        assert api.get("/images/busybox/json")["Id"] and api("POST", "/images/prune") is not None
    deadline = time.monotonic() + 60
    while state() != before:
        assert time.monotonic() < deadline


def test_json_that_is_nested_too_deeply(api):
    deep = "[" * 60_000
    for method, path, body in (
        ("POST", "/containers/create", deep.encode()),
        ("GET", f"/containers/json?filters={deep}", b""),
        ("POST", f"/build?buildargs={deep}", b""),
    ):
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        with api.connect() as sock:
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert sock.recv(65536).startswith(b"HTTP/1.1 400 "), path[:30]


def test_a_json_body_that_is_announced_too_large_is_refused_at_once(api):
    with api.connect() as sock:
        sock.sendall(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        sock.sendall(b"Content-Length: 99999999999\r\n\r\n{")
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("at", ["idle", "upload", "attach", "exec", "wait"])
def test_a_killed_server_leaves_its_containers_and_a_new_one_finds_all(roots, at):
    """SIGKILL during a request: containers keep running, and nothing of the request remains."""
    path = f"{roots.run}/killed-{at}.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "composer", "serve", "--socket", path],
        env={**os.environ, **roots.environment()}, stderr=subprocess.PIPE,
    )  # fmt: skip
    api = Api(path)
    try:
        assert process.stderr.readline().startswith(b"serving on")
        body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
        one = api("POST", f"/containers/create?name=outlives-{at}", body)["Id"]
        api("POST", f"/containers/{one}/start")
        with contextlib.closing(api.connect()) as sock:
            if at == "upload":
                sock.sendall(b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + bytes(512))
                while not uploads(roots):
                    pass
            elif at in ("attach", "wait"):
                query = "attach?stream=1&stdout=1" if at == "attach" else "wait"
                sock.sendall(f"POST /containers/{one}/{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert sock.recv(12) == b"HTTP/1.1 200"
            elif at == "exec":
                wanted = {"Cmd": ["sleep", "500"], "AttachStdout": True}
                made = api("POST", f"/containers/{one}/exec", wanted)["Id"]
                sock.sendall(f"POST /exec/{made}/start HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert sock.recv(12) == b"HTTP/1.1 200"
            process.send_signal(signal.SIGKILL)
            process.wait()
        with serving(roots, "--socket", path) as again:
            assert again.get(f"/containers/{one}/json")["State"]["Running"]
            assert not uploads(roots)
            again("DELETE", f"/containers/{one}?force=1")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def uploads(roots):
    with contextlib.suppress(FileNotFoundError):
        return [name for name in os.listdir(roots.builds) if name.startswith(".temporary-")]
    return []
