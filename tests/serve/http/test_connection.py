"""HTTP/1.1 as in RFC 9112, with correct, careless and hostile clients."""

import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.serve.http.channel import CHUNK
from composer.serve.http.parser import MAX_HEADERS


def statuses(answer):
    return re.findall(rb"HTTP/1\.1 (\d+) ", answer)


def test_a_request_is_answered(ask):
    answer = ask(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"Content-Length: 3\r\n\r\nabc")


def test_requests_sent_at_once_are_answered_in_order(ask):
    one = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    answer = ask(one + b"abc" + one + b"def" + b"GET /nosuch HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(answer) == [b"200", b"200", b"404"]
    assert answer.index(b"abc") < answer.index(b"def")


def test_a_chunked_body(ask):
    assert ask(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;a=b\r\nde\r\n0\r\n\r\n"
    ).endswith(b"abcde")


def test_a_request_byte_by_byte(client):
    for byte in b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi":
        client.sendall(bytes([byte]))
    client.shutdown(socket.SHUT_WR)
    assert client.recv(65536).endswith(b"hi")


def test_a_stream_of_pieces_leaves_the_connection_usable(ask):
    answer = ask(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /ignore HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"2\r\n0\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n" in answer
    assert statuses(answer) == [b"200", b"200"]


def test_http_1_0_has_no_chunks_and_is_closed(ask):
    answer = ask(b"GET /stream HTTP/1.0\r\n\r\nGET /ignore HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n0\n1\n2\n")


@pytest.mark.parametrize("path", [b"/ignore", b"/stream"])
@pytest.mark.parametrize(
    "lines", [b"Connection: close", b"connection: keep-alive, Close", b"Connection: x\r\nConnection: close"]
)
def test_a_client_that_asks_to_close_sees_the_end(client, path, lines):
    """It does not shut down its own side."""
    client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n")
    answer = b""
    while part := client.recv(65536):
        answer += part
    assert b"Connection: close" in answer


def test_a_body_that_no_handler_reads_is_not_the_next_request(ask):
    body = b"GET /nosuch HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert statuses(ask(head + body + b"GET /ignore HTTP/1.1\r\nHost: x\r\n\r\n")) == [b"200", b"200"]


def test_a_body_is_asked_for_when_a_handler_wants_it(client):
    client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"ok")
    assert client.recv(65536).endswith(b"ok")


def test_head_has_no_body(ask):
    answer = ask(b"HEAD /ignore HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b"Content-Length: 19\r\n\r\n")


@pytest.mark.parametrize("upgrade", [True, False], ids=["upgraded", "not upgraded"])
def test_a_raw_stream_begins_with_what_came_with_the_request(client, upgrade):
    asked = b"Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else b""
    client.sendall(b"POST /raw HTTP/1.1\r\nHost: x\r\n" + asked + b"Content-Length: 2\r\n\r\n{}early")
    head = client.recv(65536)
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n" if upgrade else b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: application/vnd.docker.raw-stream" in head
    got = head.partition(b"\r\n\r\n")[2]
    while len(got) < 5:
        got += client.recv(100)
    assert got == b"EARLY"
    client.sendall(b"more")
    assert client.recv(100) == b"MORE"
    client.shutdown(socket.SHUT_WR)  # half-closed: the other direction still works
    assert client.recv(100) == b"the end"
    assert client.recv(100) == b""


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET /ignore HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /ignore HTTP/1.1\nHost\n\n\n",
        b"NOSUCH / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_a_malformed_request_is_refused_and_the_connection_closed(ask, request_):
    answer = ask(request_ + b"GET /ignore HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(answer) == [b"400"]
    assert b"Connection: close" in answer


@pytest.mark.parametrize("size", [b"-1", b"zz", b"fffffffffffffffff", b""])
def test_a_bad_chunk_size_is_refused(ask, size):
    answer = ask(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc\r\n0\r\n\r\n"
    )
    assert statuses(answer) == [b"400"]


def test_headers_are_bounded(client):
    with pytest.raises((ConnectionError, BrokenPipeError)):
        client.sendall(b"GET /ignore HTTP/1.1\r\nHost: x\r\n")
        for _ in range(2 * (MAX_HEADERS + CHUNK) // 1000):
            client.sendall(b"X-Long: " + b"a" * 1000 + b"\r\n")
    assert client.recv(65536).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", b"invalid JSON"),
        (b"[1]", b"invalid JSON"),
        (b'"\xff"', b"invalid JSON"),
        (b"[" * 100_000, b"invalid JSON"),
    ],
)
def test_a_body_that_is_no_json(ask, content, said):
    answer = ask(
        b"POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(content)
        + content
    )
    assert statuses(answer) == [b"400"]
    assert said in answer


def test_a_client_that_leaves_in_the_middle_of_a_body(client):
    client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    client.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b""


def test_query_parameters(ask):
    answer = ask(b"GET /query?a=1&a=%2F+x&flag=0&n=12 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b'{"a":["1","/ x"],"flag":false,"number":12}\n')


def test_an_error_of_the_handler_is_a_message(ask):
    answer = ask(b"GET /refuse HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 409 Conflict\r\n")
    assert answer.endswith(b'{"message":"it is refused"}\n')


@given(st.binary(max_size=300))
def test_random_bytes_end_in_an_answer_or_a_closed_connection(data):
    from tests.serve.http.conftest import everything, served

    with served() as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = everything(client)
    assert not answer or answer.startswith(b"HTTP/1.1 ")


def test_a_refused_header_is_named(ask):
    assert b"host is given twice" in ask(b"GET /ignore HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")


def test_http_1_0_is_answered_as_1_0_and_kept_open_on_request(ask):
    answer = ask(b"GET /ignore HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /ignore HTTP/1.0\r\n\r\n" * 2)
    assert answer.count(b"HTTP/1.0 200 OK\r\n") == answer.count(b"HTTP/") == 2
    assert answer.count(b"Connection: keep-alive") == 1 and b"Connection: close" not in answer


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (b"GET /ignore HTTP/1.1\r\n\r\n", b"400", b"missing required Host header"),
        (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", b"400", rb"invalid URL escape \"%zz\""),
        (b"GET /ignore HTTP/2.0\r\nHost: x\r\n\r\n", b"505", b"HTTP/2.0 is not supported"),
        (b"GET /ignore\r\n\r\n", b"505", b"HTTP/0.9 is not supported"),
    ],
)
def test_a_request_that_http_1_forbids(ask, request_, status, said):
    answer = ask(request_ + b"GET /ignore HTTP/1.1\r\nHost: x\r\n\r\n")
    assert statuses(answer) == [status]
    assert said in answer
