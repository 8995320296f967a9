"""Artifacts: published to registries old and new, and read from hostile ones."""

import hashlib
import http.server
import json
from typing import ClassVar

import pytest

from engine.errors import Corrupt, ImageError, NotFound, RegistryError
from engine.image import manifest
from engine.registry import publish, read_artifact
from engine.registry.artifact import FILE_LIMIT
from engine.spec.artifact import ArtifactFile, ArtifactKind

KIND = ArtifactKind("application/vnd.test", "application/vnd.test.config")
FILES = [ArtifactFile(media_type="text/plain", annotations={"name": "a"}, content=b"content")]


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def registry(serve):
    """A registry in memory, whose content tests may tamper with; `refuses` returns a status for a manifest, or 0."""

    class Registry(http.server.BaseHTTPRequestHandler):
        blobs: ClassVar = {}
        manifests: ClassVar = {}
        refuses = staticmethod(lambda body: 0)

        def answer(self, status, body=b"", **headers):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_GET(self):
            kind, name = self.path.split("/")[-2:]
            if kind == "blobs":
                found = self.blobs.get(name)
                self.answer(200, found) if found is not None else self.answer(404)
                return
            found = self.manifests.get(name)
            if found is None:
                self.answer(404)
            else:
                self.answer(200, found, Content_Type=json.loads(found)["mediaType"])

        do_HEAD = do_GET

        def do_POST(self):
            self.answer(202, Location="/upload/x")

        def do_PATCH(self):
            type(self).uploaded = self.body()
            self.answer(202, Location="/upload/x")

        def do_PUT(self):
            body = self.body()
            if "digest=" in self.path:
                self.blobs[digest(self.uploaded)] = self.uploaded
                self.answer(201)
            elif status := self.refuses(json.loads(body)):
                self.answer(status, b'{"errors": [{"message": "unknown field"}]}')
            else:
                self.manifests[self.path.rpartition("/")[2]] = self.manifests[digest(body)] = body
                self.answer(201)

        def log_message(self, *words):
            pass

    Registry.host = serve(Registry)
    return Registry


def send(registry, images, version="", warnings=None):
    return publish(
        f"{registry.host}/a:1", KIND, FILES, blobs=images.blobs, version=version, warn=(warnings or []).append
    )  # fmt: skip


def read(registry, pinned=":1", known=()):
    return read_artifact(f"{registry.host}/a{pinned}", KIND, lambda digest: digest in known)


def test_artifact_round_trip(registry, images):
    made = send(registry, images)
    assert read(registry) == (made, FILES) == read(registry, f"@{made}")
    assert read(registry, known=[made]) == (made, [])
    with pytest.raises(NotFound):
        read(registry, ":2")


@pytest.mark.parametrize("status", [400, 404, 415])
def test_an_old_registry_gets_oci_1_0(registry, images, status):
    registry.refuses = staticmethod(lambda body: status if "artifactType" in body else 0)
    warnings = []
    publish(f"{registry.host}/a:1", KIND, FILES, blobs=images.blobs, warn=warnings.append)
    assert len(warnings) == 1 and "published as OCI 1.0" in warnings[0]
    assert json.loads(registry.manifests["1"])["config"]["mediaType"] == KIND.config
    assert read(registry)[1] == FILES
    with pytest.raises((RegistryError, NotFound)):
        send(registry, images, version="1.1")


@pytest.mark.parametrize("status", [401, 403])
def test_publishing_without_permission_is_explained(registry, images, status):
    registry.refuses = staticmethod(lambda body: status)
    with pytest.raises(RegistryError, match="denied"):
        send(registry, images)


def test_an_index_names_the_artifact(registry, images):
    made = send(registry, images)
    entries = [
        {"mediaType": manifest.OCI_MANIFEST, "digest": digest(b"other"), "size": 5, "artifactType": "other"},
        {"mediaType": manifest.OCI_MANIFEST, "digest": made, "size": 5, "artifactType": KIND.type},
    ]
    for count, found in ((2, FILES), (1, None)):
        index = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": entries[:count]}
        registry.manifests["1"] = json.dumps(index).encode()
        if found is not None:
            assert read(registry)[1] == found
        else:
            with pytest.raises(ImageError, match="lists no artifact"):
                read(registry)


def tampered(registry, **changes):
    body = json.loads(registry.manifests["1"])
    body["layers"][0] |= changes
    registry.manifests["1"] = json.dumps(body).encode()


def test_hostile_content(registry, images):
    send(registry, images)
    registry.blobs[digest(b"content")] = b"changed"
    with pytest.raises(Corrupt, match="not what its manifest says"):
        read(registry)
    registry.blobs[digest(b"content")] = b"content and more" * 1000
    with pytest.raises((Corrupt, RegistryError)):
        read(registry)
    tampered(registry, size=FILE_LIMIT + 1)
    with pytest.raises(ImageError, match="larger than 16 MiB"):
        read(registry)
    tampered(registry, size=-1)
    with pytest.raises(Corrupt):
        read(registry)


def test_other_artifacts_are_refused(registry, images):
    send(registry, images)
    body = json.loads(registry.manifests["1"])
    registry.manifests["1"] = json.dumps({**body, "artifactType": "application/x"}).encode()
    with pytest.raises(ImageError, match=r"is not an artifact of type .*, but application/x"):
        read(registry)
    with pytest.raises(ImageError, match="a digest is not a valid target"):
        publish(f"{registry.host}/a@{digest(b'')}", KIND, FILES, blobs=images.blobs, warn=print)
