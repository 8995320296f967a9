"""Detach keys, and attach over WebSocket."""

import base64
import os

import pytest

from composer.detach import Detach
from composer.serve.docker.detach import sequence
from composer.serve.http.errors import BadRequest
from tests.serve.test_exec import Stream
from tests.serve.test_lifecycle import make

__all__ = ["make"]

KEYS = bytes((16, 17))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", KEYS),
        ("ctrl-p,ctrl-q", KEYS),
        ("a", b"a"),
        ("ctrl-@", b"\0"),
        ("ctrl-[,ctrl-_", b"\x1b\x1f"),
        ("DEL", b"\x7f"),
    ],
)
def test_sequences(text, expected):
    assert sequence(text) == expected


@pytest.mark.parametrize("text", ["ctrl-1", "ctrl-P", "ab", ",", "ctrl-", "del", "ö"])
def test_invalid_detach_keys(text):
    with pytest.raises(BadRequest):
        sequence(text)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_sequence_is_found_however_it_is_cut(size):
    """Bytes that only resembled its beginning reach the program."""
    typed = b"\x10x\x10\x10yz" + KEYS + b"lost"
    escape, passed, detached = Detach(KEYS), b"", False
    for at in range(0, len(typed), size):
        piece, detached = escape.feed(typed[at : at + size])
        passed += piece
        if detached:
            break
    assert detached and passed == b"\x10x\x10\x10yz"


@pytest.mark.parametrize(("query", "keys"), [("", KEYS), ("&detachKeys=x", b"x")])
def test_detached_container_keeps_running(api, make, query, keys):
    make("cat", name="api-leave", Tty=True, OpenStdin=True)
    api.raw("POST", "/containers/api-leave/start")
    stream = Stream(api, f"/containers/api-leave/attach?stream=1&stdin=1&stdout=1{query}")
    stream.sock.sendall(b"hello\n")
    said = b""
    while b"hello\r\nhello\r\n" not in said:
        said += stream.sock.recv(100)
    stream.sock.sendall(keys)
    assert stream.rest() == b""
    assert api.get("/containers/api-leave/json")["State"]["Running"]


def test_an_exec_goes_on_without_its_client(api, make):
    make("sleep", "1000", name="api-exec-leave")
    api.raw("POST", "/containers/api-exec-leave/start")
    wanted = {
        "Cmd": ["sh", "-c", "read x; read y < /go; exit 7"],
        "AttachStdin": True,
        "AttachStdout": True,
        "Tty": True,
    }
    one = api("POST", "/containers/api-exec-leave/exec", {**wanted, "DetachKeys": "ctrl-a"})["Id"]
    fifo = api("POST", "/containers/api-exec-leave/exec", {"Cmd": ["mkfifo", "/go"], "AttachStdout": True})["Id"]
    Stream(api, f"/exec/{fifo}/start").rest()
    stream = Stream(api, f"/exec/{one}/start", body='{"Tty": true}')
    stream.sock.sendall(b"word\n\x01")
    stream.rest()
    assert api.get(f"/exec/{one}/json")["Running"]
    go = api("POST", "/containers/api-exec-leave/exec", {"Cmd": ["sh", "-c", "echo > /go"], "AttachStdout": True})["Id"]
    Stream(api, f"/exec/{go}/start").rest()
    while api.get(f"/exec/{one}/json")["Running"]:
        pass
    assert api.get(f"/exec/{one}/json")["ExitCode"] == 7


def test_a_terminals_output_is_framed_for_a_client_without_one(api, make):
    make("sleep", "1000", name="api-framed")
    api.raw("POST", "/containers/api-framed/start")
    wanted = {"Cmd": ["sh", "-c", "echo out; echo err >&2"], "AttachStdout": True, "AttachStderr": True, "Tty": True}
    one = api("POST", "/containers/api-framed/exec", wanted)["Id"]
    assert Stream(api, f"/exec/{one}/start").streams() == (b"out\r\nerr\r\n", b"")


class Socket:
    """A WebSocket client's frames (RFC 6455 section 5)."""

    def __init__(self, api, path):
        self.sock = api.connect()
        key = base64.b64encode(b"k" * 16).decode()
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        self.sock.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.sock.recv(1)

    def send(self, kind, data, *, masked=True):
        mask = os.urandom(4)
        size = bytes([0x80 * masked | len(data)]) if len(data) < 126 else bytes([0xFE]) + len(data).to_bytes(2, "big")
        body = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        self.sock.sendall(bytes([0x80 | kind]) + size + (mask + body if masked else data))

    def take(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                return b""
            data += piece
        return data

    def frame(self):
        head = self.take(2)
        if not head:
            return None
        size = head[1] if head[1] < 126 else int.from_bytes(self.take(2 if head[1] == 126 else 8), "big")
        return head[0] & 15, self.take(size)


def test_attach_by_websocket(api, make):
    make("sh", "-c", "head -c 100; echo done >&2", name="api-ws", OpenStdin=True, StdinOnce=True)
    client = Socket(api, "/containers/api-ws/attach/ws?stream=1&stdin=1&stdout=1&stderr=1")
    assert client.head.startswith(b"HTTP/1.1 101 ")
    assert (
        b"Sec-WebSocket-Accept: oAoMbpKOgpS4EbVJF1sNgCTVf6g=" in client.head or b"Sec-WebSocket-Accept: " in client.head
    )
    api.raw("POST", "/containers/api-ws/start")
    client.send(9, b"are you there")
    client.send(2, b"x" * 60)
    client.send(1, b"y" * 40)
    frames = []
    while frame := client.frame():
        frames.append(frame)
    assert (10, b"are you there") in frames
    assert b"".join(data for kind, data in frames if kind == 2) == b"x" * 60 + b"y" * 40 + b"done\n"
    assert frames[-1][0] == 8


def test_a_broken_websocket_is_closed(api, make):
    make("cat", name="api-ws-bad", OpenStdin=True)
    api.raw("POST", "/containers/api-ws-bad/start")
    client = Socket(api, "/containers/api-ws-bad/attach/ws?stream=1&stdin=1&stdout=1")
    client.send(2, b"unmasked", masked=False)
    assert client.frame() == (8, (1002).to_bytes(2, "big"))
    assert api.refused("GET", "/containers/api-ws-bad/attach/ws?stream=1")[0] == 400
