"""Clients on the streams of a container's own process, before and after it starts."""

import select
import struct
import threading
import urllib.parse

from tests.serve.test_exec import Stream
from tests.serve.test_lifecycle import make

__all__ = ["make"]

ALL = "stream=1&stdin=1&stdout=1&stderr=1"


def test_attach_before_start_gets_all_output(api, make):
    one = make("sh", "-c", "echo out; echo err >&2; exit 4", name="api-a", HostConfig={"AutoRemove": True})
    stream = Stream(api, f"/containers/{one}/attach?{ALL}")
    assert "multiplexed-stream" in stream.head
    codes = []
    waiting = threading.Thread(
        target=lambda: codes.append(api("POST", f"/containers/{one}/wait?condition=removed")["StatusCode"])
    )
    waiting.start()
    assert api.raw("POST", f"/containers/{one}/start")[0] == 204
    assert stream.streams() == (b"out\n", b"err\n")
    waiting.join(30)
    assert codes == [4]


def test_input_that_ended_before_the_start_arrives(api, make):
    make("cat", name="api-in", OpenStdin=True, StdinOnce=True)
    stream = Stream(api, f"/containers/api-in/attach?{ALL}", early=b"some ")
    stream.sock.sendall(b"input")
    stream.end()
    api.raw("POST", "/containers/api-in/start")
    assert stream.streams() == (b"some input", b"")


def test_attach_to_one_stream_with_logs(api, make):
    make("sh", "-c", "echo early; echo bad >&2; read x; echo $x; echo worse >&2", name="api-b", OpenStdin=True)
    api.raw("POST", "/containers/api-b/start")
    while b"bad" not in api.raw("GET", "/containers/api-b/logs?stderr=1")[2]:
        pass
    stream = Stream(api, "/containers/api-b/attach?stream=1&logs=1&stdin=1&stdout=1")
    stream.sock.sendall(b"word\n")
    assert stream.streams() == (b"early\nword\n", b"")


def test_a_terminal(api, make):
    make("sh", "-c", "read x; stty size; echo $x", name="api-t", Tty=True, OpenStdin=True)
    stream = Stream(api, f"/containers/api-t/attach?{ALL}")
    assert "raw-stream" in stream.head
    api.raw("POST", "/containers/api-t/start")
    assert api.raw("POST", "/containers/api-t/resize?h=40&w=120")[0] == 200
    stream.sock.sendall(b"hello\n")
    assert b"40 120\r\nhello\r\n" in stream.rest()


def test_the_connection_closes_when_the_container_is_removed_unstarted(api, make):
    make("true", name="api-never")
    stream = Stream(api, f"/containers/api-never/attach?{ALL}")
    api.raw("DELETE", "/containers/api-never")
    assert stream.rest() == b""


def test_client_disconnects_before_the_start(api, make):
    make("sh", "-c", "echo x", name="api-gone")
    Stream(api, f"/containers/api-gone/attach?{ALL}").sock.close()
    assert api.raw("POST", "/containers/api-gone/start")[0] == 204
    assert api("POST", "/containers/api-gone/wait")["StatusCode"] == 0
    size = struct.pack(">I", 2)
    assert api.raw("GET", "/containers/api-gone/logs?stdout=1")[2] == b"\x01\0\0\0" + size + b"x\n"


def test_exit_is_reported_after_the_last_output(api, make):
    """A client that reads slowly, and disconnects when it learns of the exit, has received everything."""
    make("sh", "-c", "head -c 3000000 /dev/zero", name="api-large")
    stream = Stream(api, "/containers/api-large/attach?stream=1&stdout=1")
    with api.connect() as events:
        filters = '{"container":["api-large"],"event":["die"]}'
        events.sendall(f"GET /events?filters={urllib.parse.quote(filters)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert events.recv(15).startswith(b"HTTP/1.1 200")
        api.raw("POST", "/containers/api-large/start")
        said = 0
        while b'"die"' not in (events.recv(65536) if select.select([events], [], [], 0)[0] else b""):
            if select.select([stream.sock], [], [], 0.05)[0]:
                said += len(stream.sock.recv(65536))
        assert said > 3000000
