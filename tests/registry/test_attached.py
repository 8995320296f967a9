"""Annotations and attestations, to a real registry and back."""

import msgspec

from engine import registry
from engine.image import attached, gc, manifest
from engine.image.attached import Attached, Attestation
from engine.image.reference import parse
from engine.registry.client import Client

EXTRAS = Attached(
    manifest={"org.example.kind": "manifest"},
    manifest_descriptor={"org.example.kind": "descriptor"},
    index={"org.example.kind": "index"},
    attestations=(
        Attestation("https://slsa.dev/provenance/v0.2", msgspec.Raw(b'{"buildType":"x"}')),
        Attestation("https://spdx.dev/Document", msgspec.Raw(b'{"SPDXID":"SPDXRef-DOCUMENT"}')),
    ),
)


def test_attestations_stay_with_the_image(start_registry, images, other_images, make):
    host = start_registry()
    name = f"{host}/team/app:1"
    pushed = make(images, name, a=b"x")
    attached.write(images.store.roots, pushed.id, EXTRAS)
    digest = registry.push(name, images=images)
    client = Client(parse(name))
    body, media_type, found = client.manifest("1")
    assert (media_type, found) == (manifest.OCI_INDEX, digest)
    index = manifest.parse(body, media_type, name)
    image, about = index.manifests
    assert index.annotations == {"org.example.kind": "index"}
    assert image.annotations == {"org.example.kind": "descriptor"}
    assert (about.platform.os, about.platform.architecture) == ("unknown", "unknown")
    assert about.annotations == {
        "vnd.docker.reference.digest": image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    body, media_type, _ = client.manifest(about.digest)
    whole = manifest.parse(body, media_type, name)
    assert [one.annotations["in-toto.io/predicate-type"] for one in whole.layers] == [
        "https://slsa.dev/provenance/v0.2",
        "https://spdx.dev/Document",
    ]
    statement = msgspec.json.decode(client.blob(whole.layers[0].digest, whole.layers[0].size))
    assert statement["_type"] == "https://in-toto.io/Statement/v0.1"
    (subject,) = statement["subject"]
    assert subject["digest"] == {"sha256": image.digest.removeprefix("sha256:")}
    assert subject["name"].startswith(f"pkg:docker/{host}/team/app@1?platform=linux%2F")
    # This registry does not list referrers, so a tag does.
    assert [(one.digest, one.artifact_type) for one in client.referrers(image.digest)] == [
        (about.digest, "application/vnd.docker.attestation.manifest.v1+json")
    ]
    registry.push(name, images=images)
    assert len(client.referrers(image.digest)) == 1

    pulled = registry.pull(name, images=other_images)
    assert pulled.id == pushed.id
    assert attached.read(other_images.store.roots, pulled.id) == EXTRAS
    assert registry.push(name, images=other_images) == digest
    other_images.remove(pulled.id, force=True)
    gc.collect(other_images)
    assert attached.read(other_images.store.roots, pulled.id) == Attached()


def test_an_image_that_lost_its_attestations(start_registry, images, other_images, make):
    host = start_registry()
    name = f"{host}/team/app:1"
    pushed = make(images, name, a=b"x")
    attached.write(images.store.roots, pushed.id, EXTRAS)
    registry.push(name, images=images)
    client = Client(parse(name), "pull,push")
    body, _, _ = client.manifest("1")
    index = msgspec.json.decode(body)
    # As left by tools that copy only images.
    client.put_manifest("1", msgspec.json.encode({**index, "manifests": index["manifests"][:1]}), manifest.OCI_INDEX)
    assert registry.pull(name, images=other_images).id == pushed.id
    assert attached.read(other_images.store.roots, pushed.id).attestations == ()
