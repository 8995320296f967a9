"""Further processes in containers, over raw streams: upgraded or not, with half-close, with a terminal."""

import socket
import struct

import pytest

from tests.serve.test_lifecycle import make

__all__ = ["make"]


@pytest.fixture
def running(api, make):
    make("sleep", "1000", name="api-exec")
    api.raw("POST", "/containers/api-exec/start")
    return api


class Stream:
    """A hijacked connection: the head of its answer, then bytes both ways."""

    def __init__(self, api, path, body="{}", upgrade=True, early=b""):
        self.sock = api.connect()
        asked = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{asked}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.sock.sendall((head + body).encode() + early)
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            piece = self.sock.recv(1)
            assert piece, got
            got += piece
        self.head = got.decode()

    def end(self):
        self.sock.shutdown(socket.SHUT_WR)

    def rest(self):
        parts = []
        while piece := self.sock.recv(65536):
            parts.append(piece)
        return b"".join(parts)

    def streams(self):
        found, rest = {1: b"", 2: b""}, self.rest()
        while rest:
            number, size = rest[0], struct.unpack(">I", rest[4:8])[0]
            found[number] += rest[8 : 8 + size]
            rest = rest[8 + size :]
        return found[1], found[2]


def make_exec(api, *command, **more):
    body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True, **more}
    return api("POST", "/containers/api-exec/exec", body)["Id"]


def code(api, one):
    found = api.get(f"/exec/{one}/json")
    assert not found["Running"]
    return found["ExitCode"]


def test_output_and_exit_code(running):
    one = make_exec(running, "sh", "-c", "echo out; echo err >&2; exit 3")
    stream = Stream(running, f"/exec/{one}/start")
    assert stream.head.startswith("HTTP/1.1 101 UPGRADED")
    assert "application/vnd.docker.multiplexed-stream" in stream.head
    assert stream.streams() == (b"out\n", b"err\n")
    assert code(running, one) == 3
    assert Stream(running, f"/exec/{one}/start").streams()[0] == f"exec command {one} has already run\r\n".encode()


def test_without_an_upgrade(running):
    stream = Stream(running, f"/exec/{make_exec(running, 'echo', 'plain')}/start", upgrade=False)
    assert stream.head.startswith("HTTP/1.1 200 OK") and "raw-stream" in stream.head
    assert stream.streams()[0] == b"plain\n"


@pytest.mark.parametrize("early", [b"with the request ", b""])
def test_input_ends_with_the_clients_side(running, early):
    stream = Stream(
        running, f"/exec/{make_exec(running, 'sh', '-c', 'cat; echo done', AttachStdin=True)}/start", early=early
    )
    stream.sock.sendall(b"later\n")
    stream.end()
    assert stream.streams() == (early + b"later\ndone\n", b"")


def test_a_lot_of_data_passes_both_ways(running):
    stream = Stream(running, f"/exec/{make_exec(running, 'cat', AttachStdin=True)}/start")
    data = bytes(range(256)) * 4096
    stream.sock.setblocking(False)
    sent, got = memoryview(data), []
    while True:
        if sent:
            try:
                sent = sent[stream.sock.send(sent) :]
            except BlockingIOError:
                pass
            if not sent:
                stream.end()
        try:
            if piece := stream.sock.recv(65536):
                got.append(piece)
            else:
                break
        except BlockingIOError:
            pass
    rest, out = b"".join(got), b""
    while rest:
        size = struct.unpack(">I", rest[4:8])[0]
        out += rest[8 : 8 + size]
        rest = rest[8 + size :]
    assert out == data


def test_a_terminal(running):
    one = make_exec(running, "sh", "-c", "stty size; read x; echo got $x; exit 5", Tty=True, AttachStdin=True)
    stream = Stream(running, f"/exec/{one}/start", '{"Tty": true, "ConsoleSize": [33, 99]}')
    assert "application/vnd.docker.raw-stream" in stream.head
    stream.sock.sendall(b"word\n")
    out = stream.rest()
    assert b"33 99\r\n" in out and b"got word\r\n" in out
    assert code(running, one) == 5


def test_failed_exec_is_reported(running):
    one = make_exec(running, "/nosuch")
    Stream(running, f"/exec/{one}/start").rest()
    assert code(running, one) == 127
    assert running.refused("POST", "/containers/api-exec/exec", {}) == (400, "No exec command specified")
    assert running.refused("GET", "/exec/nosuch/json") == (404, "No such exec instance: nosuch")


def test_detached(running):
    one = make_exec(running, "sh", "-c", "echo x > /made")
    assert running.raw("POST", f"/exec/{one}/start", {"Detach": True})[0] == 200
    two = make_exec(running, "sh", "-c", "while [ ! -e /made ]; do :; done")
    Stream(running, f"/exec/{two}/start").rest()
    assert code(running, two) == 0


def test_disconnected_client_keeps_the_process_running(running):
    one = make_exec(running, "sh", "-c", "read x < /tmp/fifo; echo $x; exit 6")
    Stream(running, f"/exec/{make_exec(running, 'mkfifo', '/tmp/fifo')}/start").rest()
    Stream(running, f"/exec/{one}/start").sock.close()
    Stream(running, f"/exec/{make_exec(running, 'sh', '-c', 'echo y > /tmp/fifo')}/start").rest()
    while running.get(f"/exec/{one}/json")["Running"]:
        pass
    assert code(running, one) == 6


@pytest.mark.parametrize(
    ("user", "missing"),
    [
        ("nobody2", "unable to find user nobody2: no matching entries in passwd file"),
        ("0:nobody2", "unable to find group nobody2: no matching entries in group file"),
    ],
)
def test_an_unknown_user_is_refused_before_the_start(running, user, missing):
    body = {"Cmd": ["true"], "User": user, "AttachStdout": True}
    assert running.refused("POST", "/containers/api-exec/exec", body) == (400, missing)


def test_user_removed_before_the_start(running):
    Stream(running, f"/exec/{make_exec(running, 'sh', '-c', 'echo brief:x:70:70::/: >> /etc/passwd')}/start").rest()
    one, two = (make_exec(running, "true", User="brief") for _ in range(2))
    Stream(running, f"/exec/{make_exec(running, 'sed', '-i', '/^brief:/d', '/etc/passwd')}/start").rest()
    missing = "unable to find user brief: no matching entries in passwd file"
    assert Stream(running, f"/exec/{one}/start").streams() == (f"{missing}\r\n".encode(), b"")
    assert running.refused("POST", f"/exec/{two}/start", {"Detach": True}) == (400, missing)
    assert code(running, one) == code(running, two) == 126


def test_a_detached_start_reports_what_cannot_be_executed(running):
    one = make_exec(running, "nosuch")
    status, message = running.refused("POST", f"/exec/{one}/start", {"Detach": True})
    assert status == 400 and 'exec: "nosuch": executable file not found in $PATH' in message
    assert code(running, one) == 127
