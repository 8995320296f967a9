"""Servers that lie, disconnect, or redirect."""

import gzip
import http.server
import json
import threading

import pytest

from engine import registry
from engine.errors import Corrupt, EngineError, ImageError, NotFound, RegistryError
from engine.image import reference
from engine.image.images import ImageStore
from engine.registry.client import Client
from engine.store import Store


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("engine.registry.transport.pause", lambda *_: None)


@pytest.fixture
def handler(content):
    class Handler(http.server.BaseHTTPRequestHandler):
        """Serves `content`; subclasses spoil a part. Each request is noted."""

        protocol_version = "HTTP/1.1"

        def do_GET(self):
            kind, _, name = self.path.rpartition("/")
            if kind.endswith("/manifests"):
                self.manifest(name)
            elif kind.endswith("/blobs"):
                self.blob(name)
            else:
                self.answer(b"{}")

        def manifest(self, name):
            self.answer(content.manifest, headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"})

        def blob(self, name):
            self.answer(content.blobs[name])

        def answer(self, body, status=200, headers=None, length=None):
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def is_layer(self, name):
            return content.blobs[name] == content.layer

        def log_message(self, *_):
            pass

    return Handler


def nothing_stays(images):
    assert images.all() == []
    assert images.layers.names() == []
    assert not [name for name in images.blobs.names() if name.startswith(".")]


def pull_fails(images, host, error, match):
    with pytest.raises(error, match=match):
        registry.pull(f"{host}/app:1", images=images)
    nothing_stays(images)


def test_an_honest_server(serve, handler, images):
    assert registry.pull(f"{serve(handler)}/app:1", images=images).config.command == ("sh",)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda layer: layer[:-1] + b"x", "has the digest"),
        (lambda layer: layer + b"x", "longer than"),
        (lambda layer: layer + bytes(50_000_000), "longer than"),
        (lambda layer: layer[:-10], "has .* bytes"),
        (lambda layer: b"", "has 0 bytes"),
    ],
)
def test_a_blob_that_is_not_what_was_promised(serve, handler, images, content, spoil, match):
    class Liar(handler):
        def blob(self, name):
            body = content.blobs[name]
            self.answer(spoil(body) if self.is_layer(name) else body)

    pull_fails(images, serve(Liar), Corrupt, match)


def test_an_endless_blob_is_cut_off(serve, handler, images):
    class Endless(handler):
        def blob(self, name):
            if not self.is_layer(name):
                return super().blob(name)
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
            except OSError:
                self.close_connection = True

    pull_fails(images, serve(Endless), Corrupt, "longer than")


def test_a_manifest_with_another_digest(serve, handler, images):
    class Liar(handler):
        def manifest(self, name):
            self.answer(b'{"schemaVersion": 2}', headers={"Docker-Content-Digest": "sha256:" + "0" * 64})

    pull_fails(images, serve(Liar), Corrupt, "expected sha256:0000")


def test_a_manifest_asked_for_by_digest(serve, handler, images):
    with pytest.raises(Corrupt, match="expected"):
        registry.pull(f"{serve(handler)}/app@sha256:{'1' * 64}", images=images)


def test_a_huge_manifest(serve, handler, images):
    class Liar(handler):
        def manifest(self, name):
            self.answer(b" " * (5 << 20))

    pull_fails(images, serve(Liar), RegistryError, "more than")


@pytest.mark.parametrize("content", ["diff_id"], indirect=True)
def test_a_layer_that_is_not_the_configuration_s(serve, handler, images):
    pull_fails(images, serve(handler), Corrupt, "has the diff_id")


@pytest.mark.parametrize("content", ["bomb"], indirect=True)
def test_a_bomb(serve, handler, images, monkeypatch):
    from engine.image.layer import compression

    small = compression.Limits(max_ratio=100, free_bytes=1 << 22)
    monkeypatch.setattr(compression, "Limits", lambda: small)
    pull_fails(images, serve(handler), Corrupt, "decompression bomb")


@pytest.mark.parametrize("content", ["garbage", "escape"], indirect=True)
def test_invalid_or_hostile_layer(serve, handler, images):
    pull_fails(images, serve(handler), Corrupt, "not a tar archive|points outside the root")


def test_a_broken_connection_is_resumed(serve, handler, images, content):
    sent = []

    class Breaking(handler):
        def blob(self, name):
            if not self.is_layer(name):
                return super().blob(name)
            body = content.layer
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            sent.append(start)
            half = body[start : start + max(1, (len(body) - start) // 2)] if len(sent) < 4 else body[start:]
            headers = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
            self.answer(half, 206 if start else 200, headers, length=len(body) - start)
            self.close_connection = True

    assert registry.pull(f"{serve(Breaking)}/app:1", images=images).layers
    assert len(sent) == 4
    assert sent == sorted(sent)
    assert sent[1] > 0


def test_a_server_that_cannot_resume(serve, handler, images, content):
    calls = []

    class Forgetful(handler):
        def blob(self, name):
            if not self.is_layer(name):
                return super().blob(name)
            calls.append(self.headers.get("Range"))
            body = content.layer if len(calls) > 1 else content.layer[:50]
            self.answer(body, length=len(content.layer))
            self.close_connection = True

    assert registry.pull(f"{serve(Forgetful)}/app:1", images=images).layers
    assert calls == [None, "bytes=50-"]


def test_a_server_that_always_breaks_off(serve, handler, images, content):
    class Broken(handler):
        def blob(self, name):
            self.answer(b"", length=len(content.blobs[name]))
            self.close_connection = True

    pull_fails(images, serve(Broken), RegistryError, "no answer|broke off")


def test_busy_server_is_retried(serve, handler, images):
    calls = []

    class Busy(handler):
        def manifest(self, name):
            calls.append(name)
            return super().manifest(name) if len(calls) > 2 else self.answer(b"{}", 503, {"Retry-After": "0"})

    assert registry.pull(f"{serve(Busy)}/app:1", images=images)
    assert len(calls) == 3


def test_rate_limits_are_explained(serve, handler, images):
    class Limited(handler):
        def manifest(self, name):
            self.answer(b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your limit"}]}', 429)

    with pytest.raises(RegistryError, match=r"limits the rate of requests: You have reached your limit"):
        registry.pull(f"{serve(Limited)}/app:1", images=images)


@pytest.mark.parametrize("wait", ["3600", "Fri, 01 Jan 2100 00:00:00 GMT"])
def test_a_long_wait_is_not_waited_for(serve, handler, images, wait):
    asked = []

    class Limited(handler):
        def manifest(self, name):
            asked.append(name)
            self.answer(b'{"errors": [{"message": "too many requests"}]}', 429, {"Retry-After": wait})

    pull_fails(images, serve(Limited), RegistryError, r"too many requests\nIt asks to wait \d{4,} seconds")
    assert len(asked) == 1


def test_download_resumes_while_it_progresses(serve, handler, images, content):
    class Breaking(handler):
        def blob(self, name):
            body = content.blobs[name]
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            headers = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
            self.answer(body[start : start + 20], 206 if start else 200, headers, length=len(body) - start)
            self.close_connection = True

    registry.pull(f"{serve(Breaking)}/app:1", images=images)


def test_an_endless_redirect(serve, handler, images):
    class Endless(handler):
        def manifest(self, name):
            if name == "1":
                self.send_response(307)
                self.send_header("Location", self.path.replace("/1", "/2"))
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(bytes(1 << 16))
                except OSError:
                    self.close_connection = True
                return
            super().manifest(name)

    registry.pull(f"{serve(Endless)}/app:1", images=images)


@pytest.mark.parametrize("depth", [2, 4, 6])
def test_an_index_in_an_index(serve, handler, images, content, depth):
    import hashlib

    def index(body, media_type):
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        found[digest] = (body, media_type)
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [{"mediaType": media_type, "digest": digest, "size": len(body)}],
            }
        ).encode()

    found = {}
    body, media_type = content.manifest, "application/vnd.oci.image.manifest.v1+json"
    for _ in range(depth - 1):
        body, media_type = index(body, media_type), "application/vnd.oci.image.index.v1+json"

    class Nested(handler):
        def manifest(self, name):
            data, kind = found.get(name, (body, media_type))
            self.answer(data, headers={"Content-Type": kind})

    if depth > 4:
        pull_fails(images, serve(Nested), ImageError, "indexes are nested more than 4 levels deep")
    else:
        registry.pull(f"{serve(Nested)}/app:1", images=images)


def test_redirects_do_not_carry_credentials(serve, handler, images, content, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    seen = []

    class Storage(handler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.answer(content.blobs[self.path.rpartition("/")[2]])

    storage = serve(Storage)

    class Front(handler):
        def do_GET(self):
            if self.headers.get("Authorization") != "Basic dTpw":
                self.answer(b"{}", 401, {"WWW-Authenticate": 'Basic realm="x"'})
            else:
                super().do_GET()

        def blob(self, name):
            self.answer(b"", 307, {"Location": f"http://{storage}/{name}"})

    host = serve(Front)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": "dTpw"}}}))
    assert registry.pull(f"{host}/app:1", images=images)
    assert seen == [None, None]


def test_redirects_in_a_circle(serve, handler, images):
    class Circle(handler):
        def manifest(self, name):
            self.answer(b"", 307, {"Location": self.path})

    pull_fails(images, serve(Circle), RegistryError, "redirects more than")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_redirects_to_other_protocols(serve, handler, images, target):
    class Away(handler):
        def manifest(self, name):
            self.answer(b"", 302, {"Location": target})

    pull_fails(images, serve(Away), RegistryError, "refused")


@pytest.fixture
def token_server(serve, handler):
    """A registry with its own token endpoint; returns the host, the received requests, and its rules."""
    state = {"requests": [], "token": "t1", "status": 200}

    class Tokens(handler):
        def do_GET(self):
            if self.path.startswith("/token"):
                state["requests"].append((self.path, self.headers.get("Authorization")))
                self.answer(json.dumps({"token": state["token"], "expires_in": 300}).encode(), state["status"])
            elif self.headers.get("Authorization") == f"Bearer {state['token']}":
                super().do_GET()
            else:
                realm = f"http://{self.headers['Host']}/token"
                self.answer(b"{}", 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="reg",scope="x"'})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            state["requests"].append((self.path, body))
            self.answer(json.dumps({"access_token": state["token"]}).encode())

    state["host"] = serve(Tokens)
    return state


def test_an_anonymous_token(token_server, images):
    assert registry.pull(f"{token_server['host']}/team/app:1", images=images)
    assert token_server["requests"] == [("/token?scope=repository%3Ateam%2Fapp%3Apull&service=reg", None)]


def test_a_token_for_a_user(token_server, images, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {token_server["host"]: {"auth": "dTpw"}}}))
    assert registry.pull(f"{token_server['host']}/app:1", images=images)
    assert [authorization for _, authorization in token_server["requests"]] == ["Basic dTpw"]


def test_an_identity_token(token_server, images, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {token_server["host"]: {"identitytoken": "id"}}}))
    assert registry.pull(f"{token_server['host']}/app:1", images=images)
    assert "refresh_token=id" in token_server["requests"][0][1]


def test_a_refused_token(token_server, images):
    token_server["status"] = 403
    pull_fails(images, token_server["host"], RegistryError, "denied")


@pytest.mark.parametrize("token", ["a\r\nHost: other", "a b", "\u00e9", "\0"])
def test_a_token_that_is_no_header(token_server, images, token):
    token_server["token"] = token
    with pytest.raises(RegistryError, match="returned no token for "):
        registry.pull(f"{token_server['host']}/app:1", images=images)


def test_a_realm_that_is_not_https_gets_no_password(serve, handler, images, monkeypatch, tmp_path):
    """It may use http only for registries on this machine."""
    from engine.image.reference import parse
    from engine.registry.challenge import Challenge
    from engine.registry.repository import Repository

    repository = Repository(parse("registry.example/app"), "pull", (), "", None)
    assert not repository.transport.trusting
    with pytest.raises(RegistryError, match="not https"):
        repository.authorization.bearer(Challenge("bearer", {"realm": "http://evil.example/token"}), None)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b'{"schemaVersion":2,"config":{},"layers":[]}', b"\xff\xfe"])
def test_nonsense_for_a_manifest(serve, handler, images, body):
    class Nonsense(handler):
        def manifest(self, name):
            self.answer(body)

    pull_fails(images, serve(Nonsense), EngineError, "127.0.0.1")


def test_an_index_for_other_platforms(serve, handler, images):
    class Foreign(handler):
        def manifest(self, name):
            entry = {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": "sha256:" + "0" * 64,
                "size": 1,
                "platform": {"os": "linux", "architecture": "vax"},
            }
            self.answer(json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())

    pull_fails(images, serve(Foreign), NotFound, "linux/vax")


def test_layers_and_diff_ids_must_be_as_many(serve, handler, images, content):
    class Short(handler):
        def manifest(self, name):
            body = json.loads(content.manifest)
            body["layers"] *= 2
            self.answer(json.dumps(body).encode())

    pull_fails(images, serve(Short), ImageError, "2 layers, but 1 diff_ids")


def test_concurrent_pulls_share_downloads(serve, handler, images, content):
    fetched, gate = [], threading.Barrier(2)

    class Counting(handler):
        def blob(self, name):
            if self.is_layer(name):
                fetched.append(name)
            super().blob(name)

    host = serve(Counting)

    def pull(tag):
        store = Store(images.store.roots)
        gate.wait()
        registry.pull(f"{host}/app:{tag}", images=ImageStore(store))
        store.close()

    threads = [threading.Thread(target=pull, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert len(images.all()) == 1
    assert len(images.all()[0].tags) == 2
    assert not [name for name in images.blobs.names() if name.startswith(".")]


def test_progress_events_count_bytes(serve, handler, images, content):
    events = []
    registry.pull(f"{serve(handler)}/app:1", images=images, progress=events.append)
    downloads = [event for event in events if event["status"] == "Downloading"]
    assert downloads[-1]["current"] == downloads[-1]["total"] == len(content.layer)
    assert gzip.decompress(content.layer)


def test_an_encoding_that_was_not_asked_for(serve, handler, images):
    """As with Docker: the decoded content and its size count."""

    class Encoding(handler):
        def answer(self, body, status=200, headers=None, length=None):
            headers = {**(headers or {}), "Content-Encoding": "gzip"}
            super().answer(gzip.compress(body), status, headers, length)

    assert registry.pull(f"{serve(Encoding)}/app:1", images=images).layers


def test_an_encoding_that_is_a_bomb(serve, handler, images, content):
    class Bomb(handler):
        def blob(self, name):
            self.answer(gzip.compress(content.blobs[name] + bytes(1 << 26)), headers={"Content-Encoding": "gzip"})

    pull_fails(images, serve(Bomb), Corrupt, "longer than")


@pytest.mark.parametrize("target", ["http://[", "http://host:port/", "http://host:99999/"])
def test_invalid_addresses(serve, handler, images, target):
    """In a redirect, and in the realm of a challenge."""

    class Redirects(handler):
        def manifest(self, name):
            self.answer(b"", 307, {"Location": target})

    class Challenges(handler):
        def manifest(self, name):
            self.answer(b"{}", 401, {"WWW-Authenticate": f'Bearer realm="{target}"'})

    for kind in (Redirects, Challenges):
        pull_fails(images, serve(kind), RegistryError, "which is not a URL")


@pytest.mark.parametrize("body", [b"[]", b"1", b"{", b'{"tags": 7}', b'{"name": "app"}', b'{"tags": [1, null]}'])
def test_invalid_list_of_tags(serve, handler, body):
    class Tags(handler):
        def do_GET(self):
            self.answer(body, headers={"Link": '<http://[>; rel="next"'})

    client = Client(reference.parse(f"{serve(Tags)}/app"))
    with pytest.raises(RegistryError, match=r"is not valid|which is not a URL"):
        client.tags()
