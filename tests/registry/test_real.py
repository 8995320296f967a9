"""Against the distribution project's own registry."""

import base64
import json
import os

import msgspec
import pytest

from engine import registry
from engine.errors import NotFound, RegistryError
from engine.image import gc


def log_in(password="secret", host="localhost:5000"):
    os.makedirs(os.environ["DOCKER_CONFIG"], exist_ok=True)
    auth = base64.b64encode(f"tester:{password}".encode()).decode()
    with open(f"{os.environ['DOCKER_CONFIG']}/config.json", "w") as file:
        json.dump({"auths": {host: {"auth": auth}}}, file)


def test_round_trip(start_registry, images, other_images, make):
    host = start_registry()
    pushed = make(images, f"{host}/team/app:1", a=b"x" * 100_000)
    events = []
    digest = registry.push(f"{host}/team/app:1", images=images, progress=events.append)
    assert events[-2]["status"] == "Pushed"
    assert events[-1]["status"].startswith(f"digest: {digest} size: ")
    assert registry.pinned(f"{host}/team/app:1") == f"{host}/team/app:1@{digest}"
    assert registry.pinned(f"{host}/team/app@{digest}") == f"{host}/team/app@{digest}"
    events.clear()
    pulled = registry.pull(f"{host}/team/app:1", images=other_images, progress=events.append)
    assert pulled.id == pushed.id
    assert pulled.tags == (f"{host}/team/app:1",)
    assert pulled.digests == (f"{host}/team/app@{digest}",)
    statuses = [event["status"] for event in events]
    assert statuses[0] == "Pulling fs layer"
    assert statuses[-1] == "Pull complete"
    with open(other_images.layers.path(pulled.layers[0]) + "/a") as file:
        assert file.read() == "x" * 100_000
    # Again: nothing is fetched.
    events.clear()
    again = registry.pull(f"{host}/team/app:1", images=other_images, progress=events.append)
    assert again.tagged_at > pulled.tagged_at
    assert msgspec.structs.replace(again, tagged_at=pulled.tagged_at) == pulled
    assert [event["status"] for event in events] == ["Already exists"]
    # By digest, and under another name: the layer already exists there, so it is mounted and not sent.
    assert registry.pull(f"{host}/team/app@{digest}", images=other_images).id == pushed.id
    other_images.tag(pulled.id, f"{host}/team/copy:2")
    events.clear()
    registry.push(f"{host}/team/copy:2", images=other_images, progress=events.append)
    assert events[0]["status"] == "Mounted"
    # Pulled content can be garbage-collected, including blobs.
    other_images.remove(pulled.id, force=True)
    gc.collect(other_images)
    assert other_images.layers.names() == other_images.blobs.names() == []


def test_damaged_blob_is_fetched_again(start_registry, images, other_images, make):
    """Its name and size were on disk, but not all of its content, and no image has it."""
    host = start_registry()
    pushed = make(images, f"{host}/app:1", a=b"x" * 100_000)
    registry.push(f"{host}/app:1", images=images)
    (layer,) = images.layers.need(images.chain(pushed.id))
    with other_images.blobs.ingest() as writer:
        writer.write(b"")
    with open(other_images.blobs.path(layer.blob), "wb") as file:
        file.truncate(os.path.getsize(images.blobs.path(layer.blob)))
    pulled = registry.pull(f"{host}/app:1", images=other_images)
    with open(other_images.layers.path(pulled.layers[0]) + "/a") as file:
        assert file.read() == "x" * 100_000
    assert other_images.blobs.is_whole(layer.blob, os.path.getsize(images.blobs.path(layer.blob)))


def test_layers_are_shared_between_images(start_registry, images, other_images, make):
    host = start_registry()
    for name in ("one", "two"):
        make(images, f"{host}/{name}", a=b"same")
        registry.push(f"{host}/{name}", images=images)
    registry.pull(f"{host}/one", images=other_images)
    events = []
    registry.pull(f"{host}/two", images=other_images, progress=events.append)
    assert [event["status"] for event in events] == ["Already exists"]


def test_image_with_many_layers(start_registry, images, other_images, make):
    """More layers than threads, with one content twice."""
    from engine.image.layer_add import seal

    host = start_registry()
    base = make(images, "base")
    file = images.file(base.id)
    layers = images.layers.need(images.chain(base.id))
    for number in (1, 2, 3, 4, 5, 3):
        with images.layers.draft() as draft:
            with open(f"{draft.diff}/f{number}", "w") as out:
                out.write("x" * number)
            os.utime(f"{draft.diff}/f{number}", (number, number))
            layers.append(seal(images.layers, draft, layers[-1]))
    from engine.image import config

    file.rootfs.diff_ids = [layer.diff_id for layer in layers]
    record = images.record(config.encode(file), [layer.chain_id for layer in layers], tags=[f"{host}/many"])
    registry.push(f"{host}/many", images=images)
    pulled = registry.pull(f"{host}/many", images=other_images)
    assert (pulled.id, len(pulled.layers)) == (record.id, 7)
    assert other_images.chain(pulled.id) == images.chain(record.id)


def test_missing_content(start_registry, images):
    host = start_registry()
    with pytest.raises(NotFound, match=r"no such image: localhost:5000/app:2\n.*manifest unknown"):
        registry.pull(f"{host}/app:2", images=images)
    assert images.all() == []


def test_a_password_is_asked_for(start_registry, images, other_images, make):
    host = start_registry(auth=True)
    make(images, f"{host}/app")
    with pytest.raises(RegistryError, match="denied") as caught:
        registry.push(f"{host}/app", images=images)
    assert caught.value.status == 401
    log_in("wrong")
    with pytest.raises(RegistryError, match="denied"):
        registry.push(f"{host}/app", images=images)
    log_in()
    registry.push(f"{host}/app", images=images)
    assert registry.pull(f"{host}/app", images=other_images).tags


def test_tls_on_the_loopback_interface_needs_no_authority(start_registry, certificate, images, other_images, make):
    host = start_registry(certificate=certificate)
    make(images, f"{host}/app")
    registry.push(f"{host}/app", images=images)
    assert registry.pull(f"{host}/app", images=other_images).tags


@pytest.fixture
def registry_test_resolves(monkeypatch):
    """registry.test is this machine, for this process: a name that does not look like the loopback interface."""
    import socket

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *args, **more: real("127.0.0.1" if host == "registry.test" else host, *args, **more),
    )


def test_tls_elsewhere_is_verified(start_registry, certificate, images, make, monkeypatch, registry_test_resolves):
    start_registry(certificate=certificate)
    make(images, "registry.test:5000/app")
    with pytest.raises(RegistryError, match=r"(?s)certificate verify failed.*certs\.d/registry\.test:5000"):
        registry.push("registry.test:5000/app", images=images)
    monkeypatch.setenv("SSL_CERT_FILE", certificate[0])
    registry.push("registry.test:5000/app", images=images)


def test_plain_http_elsewhere_is_refused_unless_allowed(start_registry, images, make, registry_test_resolves):
    start_registry()
    make(images, "registry.test:5000/app")
    with pytest.raises(RegistryError):
        registry.push("registry.test:5000/app", images=images)
    registry.push("registry.test:5000/app", images=images, insecure=["registry.test:5000"])


def test_unreachable_registry_is_an_error(images, monkeypatch):
    """A registry that cannot be reached is reported at once; only one that was reached before is waited for."""
    monkeypatch.setattr("engine.registry.transport.pause", lambda *_: pytest.fail("waits"))
    with pytest.raises(RegistryError, match=r"no answer from registry localhost:5999.*refused") as raised:
        registry.pull("localhost:5999/app", images=images)
    assert "[Errno" not in str(raised.value) and raised.value.reason == "Connection refused"
    with pytest.raises(RegistryError, match=r"no answer from registry nothing\.invalid.*Failed to resolve") as raised:
        registry.pull("nothing.invalid/app", images=images)
    assert "[Errno" not in str(raised.value) and raised.value.reason
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:5999")
    with pytest.raises(RegistryError, match=r"no answer from registry registry\.test"):
        registry.pull("registry.test/app", images=images)


def test_an_image_that_is_removed_during_its_push(start_registry, images, other_images, make):
    """The push ends, and records nothing about an image that is gone."""
    host = start_registry()
    pushed = make(images, f"{host}/app:1", a=b"x")

    def remove(event):
        if event["status"] == "Pushed":
            with images.store.transaction() as db:
                db.execute("DELETE FROM images WHERE id = ?", (pushed.id,))

    digest = registry.push(f"{host}/app:1", images=images, progress=remove)
    assert images.get(f"{host}/app@{digest}") is None
    assert registry.pull(f"{host}/app:1", images=other_images).id == pushed.id
