"""A push to a server that disconnects, forgets the upload, or redirects it."""

import hashlib
import http.server
import json

import pytest

from engine import registry
from engine.errors import RegistryError
from engine.registry.transport import ATTEMPTS, Transport
from engine.spec.credentials import Credentials

LIMIT = 1 << 16


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("engine.registry.transport.pause", lambda *_: None)


@pytest.fixture
def handler():
    class Store(http.server.BaseHTTPRequestHandler):
        """A registry that takes uploads; subclasses spoil a part."""

        protocol_version = "HTTP/1.1"
        blobs, parts, manifests, seen = {}, {}, {}, []
        elsewhere = ""

        def answer(self, status, headers=None, body=b""):
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self):
            self.answer(200 if self.path.rpartition("/")[2] in self.blobs else 404)

        def do_POST(self):
            self.parts[len(self.parts)] = b""
            self.answer(202, {"Location": f"{self.elsewhere}/v2/app/blobs/uploads/{len(self.parts) - 1}?state=x"})

        def number(self):
            return int(self.path.partition("?")[0].rpartition("/")[2])

        def location(self):
            return {"Location": f"/v2/app/blobs/uploads/{self.number()}?state=y"}

        def do_PATCH(self):
            self.seen.append(("PATCH", self.headers.get("Authorization", "")))
            begin = int(self.headers["Content-Range"].partition("-")[0])
            if begin != len(self.parts[self.number()]):
                return self.answer(416)
            left = int(self.headers["Content-Length"])
            while left:
                data = self.rfile.read(min(left, LIMIT))
                left -= len(data)
                self.parts[self.number()] += data
                if not self.took(len(data)):
                    self.close_connection = True
                    return None
            return self.answer(202, self.location())

        def took(self, count):
            return True

        def do_GET(self):
            if "/uploads/" not in self.path:
                return self.answer(200, body=b"{}")
            size = len(self.parts[self.number()])
            return self.answer(204, {**self.location(), "Range": f"0-{max(size - 1, 0)}"})

        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if "/manifests/" in self.path:
                self.manifests[self.path] = body
                return self.answer(201)
            self.seen.append(("PUT", self.headers.get("Authorization", "")))
            self.blobs[self.path.rpartition("digest=")[2].replace("%3A", ":")] = self.parts[self.number()] + body
            return self.answer(201)

        def log_message(self, *_):
            pass

    Store.blobs, Store.parts, Store.manifests, Store.seen = {}, {}, {}, []
    return Store


@pytest.fixture
def pushed(serve, make, images):
    """Push an image with a layer of a given size to a handler; returns the host."""

    def push(handler):
        host = serve(handler)
        make(images, f"{host}/app:1", file=bytes(range(256)) * 4096)
        registry.push(f"{host}/app:1", images=images)
        return host

    return push


@pytest.fixture
def in_chunks(monkeypatch):
    """Blobs of any size are sent as large ones are."""
    monkeypatch.setattr("engine.registry.upload._WHOLE", -1)


def whole(handler):
    assert len(handler.blobs) == 2
    for digest, data in handler.blobs.items():
        assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    (manifest,) = handler.manifests.values()
    assert json.loads(manifest)["layers"][0]["digest"] in handler.blobs


def test_a_push(pushed, handler):
    pushed(handler)
    whole(handler)
    assert [method for method, _ in handler.seen] == ["PUT", "PUT"]


def test_a_push_of_large_blobs(pushed, handler, in_chunks):
    pushed(handler)
    whole(handler)
    assert sorted(method for method, _ in handler.seen) == ["PATCH", "PATCH", "PUT", "PUT"]


@pytest.mark.parametrize("status", [400, 503])
def test_a_server_that_takes_no_whole_blobs_gets_them_in_chunks(pushed, handler, status):
    class Piecemeal(handler):
        def do_PUT(self):
            if "/manifests/" in self.path or self.headers["Content-Length"] == "0":
                return super().do_PUT()
            self.close_connection = True
            self.rfile.read(int(self.headers["Content-Length"]))
            return self.answer(status)

    if status == 400:
        with pytest.raises(RegistryError, match="400"):
            pushed(Piecemeal)
    else:
        pushed(Piecemeal)
        whole(Piecemeal)


@pytest.mark.parametrize(
    ("status", "location", "words", "tries"),
    [
        (500, "", "answered 500", ATTEMPTS),
        (202, "file:///etc/passwd", "wants the upload to go to file:///etc/passwd, which is not https: refused", 1),
        (202, "http://[", "refers to 'http://\\[', which is not a URL", 1),
        (405, "", "answered 405", 1),
    ],
)
def test_an_upload_that_cannot_begin_fails_soon(pushed, handler, status, location, words, tries):
    asked = []

    class Broken(handler):
        def do_POST(self):
            asked.append(self.path)
            self.answer(status, {"Location": location} if location else {})

    with pytest.raises(RegistryError, match=words):
        pushed(Broken)
    assert len(asked) <= 2 * tries  # two blobs at a time


def test_an_upload_is_resumed_however_often_it_breaks(pushed, handler, in_chunks):
    class Breaking(handler):
        breaks = 0

        def took(self, count):
            if count < 512:
                return True
            type(self).breaks += 1
            return type(self).breaks > 3

    pushed(Breaking)
    whole(Breaking)


def test_expired_upload_restarts(pushed, handler, in_chunks):
    class Forgetful(handler):
        breaks = 0

        def took(self, count):
            type(self).breaks += 1
            return type(self).breaks > 2

        def do_GET(self):
            if "/uploads/" in self.path:
                return self.answer(404)
            return super().do_GET()

    pushed(Forgetful)
    whole(Forgetful)


def test_push_gives_up_on_a_server_that_never_reads(pushed, handler, in_chunks):
    class Deaf(handler):
        def do_PATCH(self):
            self.answer(503)
            self.close_connection = True

    with pytest.raises(RegistryError, match="503"):
        pushed(Deaf)


def test_an_upload_elsewhere_gets_no_credentials(serve, pushed, handler, monkeypatch):
    elsewhere = serve(type("Elsewhere", (handler,), {}))

    class Front(handler):
        def do_POST(self):
            if self.headers.get("Authorization"):
                super().do_POST()
            else:
                self.answer(401, {"WWW-Authenticate": "Basic realm=x"})

    Front.elsewhere = f"http://{elsewhere}"
    monkeypatch.setattr("engine.registry.credentials.find", lambda registry: Credentials("user", "secret"))
    pushed(Front)
    whole(handler)
    assert {sent for _, sent in handler.seen} == {""}


def test_upload_may_not_leave_https():
    transport = Transport("registry.example.com")
    with pytest.raises(RegistryError, match="not https: refused"):
        transport.check_scheme("http://registry.example.com/v2/app/blobs/uploads/1", "wants the upload to go to")
