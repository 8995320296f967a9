"""Answers that no registry should give, made by hypothesis: a pull gives the image or an error for the reader, and ends."""

import contextlib
import json
import re
import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import registry
from engine.errors import EngineError
from engine.image import gc
from tests.registry.conftest import Content

MOST = 2000
"""Characters of a message that a reader still reads."""
STATUS = st.sampled_from(
    [200, 200, 200, 206, 204, 301, 302, 307, 308, 304, 400, 401, 403, 404, 416, 429, 500, 503, 100, 999]
)
URLS = st.sampled_from(
    ["/", "", "//", "http://[", "http://[::1", "http://a:b/", "http://HOST/v2/", "https://HOST/x", "ftp://x/", "file:///etc/passwd",
     "http://HOST:99999/", "http://user:secret@HOST/v2/", "/v2/\u00e9\u4e16", "?", "#", "http:", "http://%zz/", "\t", "http://HOST\\x/"]
)  # fmt: skip
WORDS = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    st.sampled_from(["", "0", "-1", "1e9", "9" * 30, "bytes 0-1/2", "bytes */*", "bytes 5-1/1", "gzip", "deflate", "br", "zstd",
                     "gzip, gzip", "identity", "chunked", "application/json", "application/vnd.oci.image.index.v1+json",
                     "sha256:" + "0" * 64, "sha256:../../x", "text/html; charset=nonsense"]),
)  # fmt: skip
CHALLENGES = st.one_of(
    WORDS,
    st.builds(
        lambda kind, realm, more: f'{kind} realm="{realm}"{more}',
        st.sampled_from(["Bearer", "Basic", "bearer", "Digest", ""]),
        st.one_of(URLS, st.just("http://HOST/token")),
        st.sampled_from(["", ',service="x"', ',scope="a b"', ",error", ',service="', ', Basic realm="y"', "," * 500]),
    ),
)
HEADERS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["Location", "Link"]), st.one_of(URLS, URLS.map(lambda url: f'<{url}>; rel="next"'))),
        st.tuples(st.just("WWW-Authenticate"), CHALLENGES),
        st.tuples(
            st.sampled_from(["Content-Type", "Content-Encoding", "Content-Range", "Content-Length", "Transfer-Encoding",
                             "Docker-Content-Digest", "Connection"]),
            WORDS,
        ),
        st.tuples(st.just("Retry-After"), st.one_of(WORDS, st.just("Fri, 31 Feb 2099 25:61:00 GMT"))),
    ),
    max_size=3,
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(), st.text(max_size=8),
        st.sampled_from(["sha256:" + "0" * 64, "sha512:" + "0" * 128, "sha256:x", "linux", "amd64", "../..", "\ud800"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=5,
)  # fmt: skip


@st.composite
def spoiled(draw, document):
    """The JSON document with one value replaced, or removed."""
    found = json.loads(document)
    at = found
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and at[key] and draw(st.booleans()):
            at = at[key]
            continue
        if draw(st.booleans()):
            at[key] = draw(VALUES)
        else:
            del at[key]
        return json.dumps(found).encode(errors="surrogatepass")


CONTENT = Content()
BODIES = {
    "manifests": st.one_of(st.just(CONTENT.manifest), spoiled(CONTENT.manifest), st.binary(max_size=60)),
    "blobs": st.one_of(st.just(None), spoiled(CONTENT.config), st.binary(max_size=60)),
    "token": st.one_of(
        st.just(b'{"token": "t"}'),
        VALUES.map(lambda value: json.dumps({"token": value}).encode()),
        st.binary(max_size=60),
    ),
    "v2": st.one_of(st.just(b"{}"), st.binary(max_size=20)),
}


def framed(status, headers, body, length):
    """A response as bytes; `length` says how its end is told."""
    lines = [f"HTTP/1.1 {status} Made"] + [re.sub(r"[\r\n]", " ", f"{name}: {value}") for name, value in headers]
    if length == "right":
        lines.append(f"Content-Length: {len(body)}")
    elif length == "chunked":
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    elif length == "wrong chunk":
        lines.append("Transfer-Encoding: chunked")
        body = b"zz\r\n" + body
    elif length == "short":
        lines.append(f"Content-Length: {len(body) + 7}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


LENGTHS = st.sampled_from(["right", "right", "right", "chunked", "none", "short", "wrong chunk"])


def answers(kind):
    made = st.builds(lambda *parts: ("made", parts), STATUS, HEADERS, BODIES[kind], LENGTHS)
    return st.lists(
        st.one_of(made, st.just(("honest", ())), st.just(("raw", (b"\x00\xff nonsense\r\n\r\n",)))), max_size=3
    )


class Server:
    """Answers as `plan` says, kind → responses in turn, and honestly afterwards."""

    def __init__(self):
        self.plan, self.requests = {}, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        threads = []
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=self.talk, args=(connection,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def talk(self, connection):
        with connection, contextlib.suppress(OSError, ValueError), connection.makefile("rb") as lines:
            connection.settimeout(5)
            if connection.recv(1, socket.MSG_PEEK) not in (b"G", b"H"):
                return  # TLS
            words = lines.readline().split(b" ")
            while lines.readline().strip():
                pass
            self.requests += 1
            connection.sendall(self.answer(words[1].decode("latin-1")))  # the next request takes a new connection

    def answer(self, path):
        kind = next((kind for kind in ("manifests", "blobs", "token") if f"/{kind}" in path), "v2")
        how, parts = self.plan[kind].pop(0) if self.plan.get(kind) else ("honest", ())
        name = path.rpartition("/")[2]
        honest = {"manifests": CONTENT.manifest, "blobs": CONTENT.blobs.get(name, b""), "token": b'{"token": "t"}'}.get(
            kind, b"{}"
        )
        if how == "raw":
            return parts[0]
        if how == "made":
            status, headers, body, length = parts
            headers = [(name, value.replace("HOST", self.host)) for name, value in headers]
            return framed(status, [*headers, ("Connection", "close")], honest if body is None else body, length)
        media = "application/vnd.oci.image.manifest.v1+json" if kind == "manifests" else "application/octet-stream"
        return framed(200, [("Content-Type", media), ("Connection", "close")], honest, "right")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("engine.registry.transport.pause", lambda *_: None)
    made = Server()
    yield made
    made.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=st.fixed_dictionaries({kind: answers(kind) for kind in BODIES}))
def test_any_answer_is_an_image_or_an_error(server, images, plan):
    server.plan, server.requests = {kind: list(found) for kind, found in plan.items()}, 0
    try:
        record = registry.pull(f"{server.host}/app:1", images=images)
    except EngineError as error:
        text = str(error)
        assert len(text) < MOST and "Errno" not in text and "Traceback" not in text and "object at 0x" not in text, text
        assert images.all() == []
    else:
        images.remove(record.id, force=True)
        gc.collect(images)
    assert server.requests < 100
