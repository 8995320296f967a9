"""Registries and mirrors that serve other images than those that were signed or locked."""

import http.server
import json
import urllib.error
import urllib.request

import pytest

from engine import registry
from engine.errors import Corrupt, ImageError, ImageRefused, NotFound
from engine.image import manifest, reference
from engine.image.platform import host as this_platform
from engine.registry.client import Client
from engine.trust import gate
from tests.trust import signer

pytestmark = pytest.mark.usefixtures("keyed")


def index(name, entries):
    """Push an index to the tag of `name`; `entries` are pairs of an image's digest in the repository, and a platform as
    os/architecture. Returns its digest."""
    client = Client(reference.parse(name), "pull,push")
    manifests = []
    for digest, platform in entries:
        system, architecture = platform.split("/")
        body, media_type, _ = client.manifest(digest)
        one = {"mediaType": media_type, "digest": digest, "size": len(body)}
        manifests.append({**one, "platform": {"os": system, "architecture": architecture}})
    body = json.dumps({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": manifests}).encode()
    client.put_manifest(reference.parse(name).tag, body, manifest.OCI_INDEX)
    return client.manifest(reference.parse(name).tag)[2]


@pytest.fixture
def ours():
    return f"{this_platform().os}/{this_platform().architecture}"


@pytest.fixture
def other(image, images, make):
    """Another, unsigned image in the same repository: its digest."""
    name = f"{image[0].rpartition(':')[0]}:other"
    make(images, name, other=b"2")
    return registry.push(name, images=images)


@pytest.fixture
def mirror(image, host, serve, tmp_path, monkeypatch):
    """A mirror of the registry that answers each request for a manifest in `replaced` (tag or digest) with the manifest
    of that digest; returns `replaced`."""
    replaced = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            folder, _, last = self.path.rpartition("/")
            wanted = replaced.get(last, last) if folder.endswith("/manifests") else last
            request = urllib.request.Request(f"http://{host}{folder}/{wanted}", headers=dict(self.headers))
            try:
                answer = urllib.request.urlopen(request)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                body = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(body)))
                if last.startswith("sha256:"):
                    self.send_header("Docker-Content-Digest", last)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args):
            pass

    address = serve(Handler)
    (tmp_path / "registries.toml").write_text(f'[registry."{host}"]\nmirrors = ["http://{address}"]\n')
    monkeypatch.setenv("COMPOSER_REGISTRIES", str(tmp_path / "registries.toml"))
    return replaced


def test_an_index_whose_entry_for_this_platform_is_another_image(image, other, other_images, key, ours):
    name, digest = image
    signer.sign(name, digest, key)
    index(name, [(other, ours), (digest, "linux/s390x")])
    with pytest.raises(ImageRefused, match="it is not signed"):
        registry.pull(name, images=other_images)
    assert other_images.all() == []
    made = index(name, [(digest, ours), (other, "linux/s390x")])
    pulled = registry.pull(name, images=other_images)
    assert {one.rpartition("@")[2] for one in pulled.digests} == {made}
    assert gate.admit(other_images, name)
    with pytest.raises((ImageRefused, NotFound)):
        registry.pull(name, images=other_images, platform="linux/s390x")


def test_a_signature_of_the_index_is_for_each_of_its_entries(image, other, other_images, key, ours):
    name, digest = image
    signer.sign(name, index(name, [(digest, ours)]), key)
    signed = registry.pull(name, images=other_images)
    changed = index(name, [(other, ours)])
    with pytest.raises(ImageRefused, match=f"{changed}.* it is not signed"):
        registry.pull(name, images=other_images)
    assert other_images.need(name).id == signed.id


def test_an_entry_for_another_platform_than_its_image(image, other_images, key):
    name, digest = image
    signer.sign(name, index(name, [(digest, "linux/s390x")]), key)
    with pytest.raises(NotFound, match=r"for platform linux/s390x"):
        registry.pull(name, images=other_images, platform="linux/s390x")
    assert other_images.all() == []


def test_a_mirror_that_serves_an_older_signed_image(image, images, other_images, key, make, mirror):
    name, older = image
    signer.sign(name, older, key)
    make(images, name, newer=b"2")
    newer = registry.push(name, images=images)
    signer.sign(name, newer, key)
    pinned = f"{name}@{newer}"
    tag = reference.parse(name).tag
    mirror |= {tag: older, newer: older}
    with pytest.raises(Corrupt, match=f"has the digest {older}; expected {newer}"):
        registry.pull(pinned, images=other_images)
    assert other_images.all() == []
    # A signature does not say which image is the newest: only a digest does.
    assert registry.pull(name, images=other_images).digests[0].endswith(older)
    mirror.clear()
    assert registry.pull(pinned, images=other_images).digests[0].endswith(newer)


def test_a_mirror_that_serves_an_unsigned_image(image, other, other_images, key, mirror):
    name, digest = image
    signer.sign(name, digest, key)
    mirror[reference.parse(name).tag] = other
    with pytest.raises(ImageRefused, match="it is not signed"):
        registry.pull(name, images=other_images)
    # The signature of the one image for the other.
    mirror[f"{other.replace(':', '-')}.sig"] = f"{digest.replace(':', '-')}.sig"
    with pytest.raises(ImageRefused, match="the signature "):
        registry.pull(name, images=other_images)
    mirror[digest] = other
    with pytest.raises(ImageError):
        registry.pull(f"{name}@{digest}", images=other_images)
    assert other_images.all() == []
