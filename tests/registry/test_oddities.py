"""Manifests from old, foreign and careless tools."""

import json

import pytest

from engine import registry
from engine.errors import ImageError, NotFound, RegistryError, Unsupported
from engine.image import manifest
from tests.registry.conftest import digest
from tests.registry.test_hostile import handler, nothing_stays, pull_fails

__all__ = ["handler"]
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def changed(content, **fields):
    body = json.loads(content.manifest) | fields
    content.manifest = json.dumps(body).encode()


def layer(content, **fields):
    (found,) = json.loads(content.manifest)["layers"]
    changed(content, layers=[found | fields])


def test_dockers_own_types(serve, handler, images, content):
    config = json.loads(content.manifest)["config"] | {"mediaType": manifest.DOCKER_CONFIG}
    layer(content, mediaType="application/vnd.docker.image.rootfs.diff.tar.gzip")
    changed(content, mediaType=manifest.DOCKER_MANIFEST, config=config)

    class Old(handler):
        def manifest(self, name):
            self.answer(content.manifest, headers={"Content-Type": manifest.DOCKER_MANIFEST})

    assert registry.pull(f"{serve(Old)}/app:1", images=images).config.command == ("sh",)


@pytest.mark.parametrize("header", ["", "text/plain", "application/json; charset=utf-8"])
def test_the_manifest_says_its_type_itself(serve, handler, images, content, header):
    class Careless(handler):
        def manifest(self, name):
            self.answer(content.manifest, headers={"Content-Type": header} if header else {})

    assert registry.pull(f"{serve(Careless)}/app:1", images=images).config.command == ("sh",)


def test_a_layer_that_the_registry_may_not_have(serve, handler, images, content):
    seen = []

    class Elsewhere(handler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            self.answer(content.layer if self.path == "/real" else b"no", 200 if self.path == "/real" else 404)

    class Without(handler):
        def blob(self, name):
            if self.is_layer(name):
                self.answer(b"{}", 404)
            else:
                super().blob(name)

    host = serve(Elsewhere)
    layer(content, mediaType=FOREIGN, urls=[f"http://{host}/gone", f"http://{host}/real"])
    assert registry.pull(f"{serve(Without)}/app:1", images=images).config.command == ("sh",)
    assert seen == [("/gone", None), ("/real", None)]


@pytest.mark.parametrize(("url", "error"), [
    ("file:///etc/passwd", RegistryError), ("ftp://127.0.0.1/x", RegistryError), ("", RegistryError),
])  # fmt: skip
def test_layers_come_from_web_servers_only(serve, handler, images, content, url, error):
    class Without(handler):
        def blob(self, name):
            self.answer(b"{}", 404) if self.is_layer(name) else super().blob(name)

    layer(content, mediaType=FOREIGN, urls=[url])
    pull_fails(images, serve(Without), error, "not https")


def test_a_lying_web_server(serve, handler, images, content):
    class Elsewhere(handler):
        def do_GET(self):
            self.answer(content.layer[:-1] + b"x")

    class Without(handler):
        def blob(self, name):
            self.answer(b"{}", 404) if self.is_layer(name) else super().blob(name)

    layer(content, mediaType=FOREIGN, urls=[f"http://{serve(Elsewhere)}/real"])
    pull_fails(images, serve(Without), ImageError, "has the digest")


def test_a_registry_without_the_layer(serve, handler, images, content):
    class Without(handler):
        def blob(self, name):
            self.answer(b"{}", 404) if self.is_layer(name) else super().blob(name)

    pull_fails(images, serve(Without), NotFound, rf"no such blob: {digest(content.layer)} of \S+/app:1\n")


def test_a_registry_without_the_manifest_for_this_platform(serve, handler, images, content):
    inner = {"mediaType": manifest.OCI_MANIFEST, "digest": digest(content.manifest), "size": len(content.manifest)}
    index = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": [inner]}

    class Without(handler):
        def manifest(self, name):
            if name == "1":
                self.answer(json.dumps(index).encode(), headers={"Content-Type": manifest.OCI_INDEX})
            else:
                self.answer(b"{}", 404)

    pull_fails(images, serve(Without), NotFound, rf"no such manifest: {inner['digest']} of \S+/app:1\n")


@pytest.mark.parametrize(("fields", "match"), [
    ({"config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2}}, "config"),
    ({"artifactType": "application/x", "layers": [{"mediaType": "text/x", "digest": digest(b"{}"), "size": 2}]}, "text/x"),
    ({"schemaVersion": 1}, "schema 1"),
    ({"schemaVersion": 3}, "schemaVersion 3"),
    ({"layers": None}, "not an image manifest"),
    ({"config": None}, "not an image manifest"),
])  # fmt: skip
def test_non_images_are_refused(serve, handler, images, content, fields, match):
    content.blobs[digest(b"{}")] = b"{}"
    changed(content, **fields)
    with pytest.raises((ImageError, Unsupported), match=match):
        registry.pull(f"{serve(handler)}/app:1", images=images)
    nothing_stays(images)


def test_an_empty_index(serve, handler, images):
    class Empty(handler):
        def manifest(self, name):
            body = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": []}
            self.answer(json.dumps(body).encode(), headers={"Content-Type": manifest.OCI_INDEX})

    pull_fails(images, serve(Empty), NotFound, "platform")


def test_unreachable_attestations(serve, handler, images, content):
    """The image is valid without them."""
    body = content.manifest
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest(body)}
    index = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_INDEX,
        "manifests": [
            {"mediaType": manifest.OCI_MANIFEST, "digest": digest(body), "size": len(body),
             "platform": {"os": "linux", "architecture": "amd64"}},
            {"mediaType": manifest.OCI_MANIFEST, "digest": digest(b"gone"), "size": 4, "annotations": about,
             "platform": {"os": "unknown", "architecture": "unknown"}},
        ],
    }  # fmt: skip

    class Careless(handler):
        def manifest(self, name):
            if name == digest(b"gone"):
                self.answer(b"{}", 404)
            elif name.startswith("sha256:"):
                super().manifest(name)
            else:
                self.answer(json.dumps(index).encode(), headers={"Content-Type": manifest.OCI_INDEX})

    events = []
    found = registry.pull(f"{serve(Careless)}/app:1", images=images, platform="linux/amd64", progress=events.append)
    assert found.config.command == ("sh",)
    assert any("attestations" in event["status"] for event in events)
