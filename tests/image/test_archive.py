import io
import json
import os
import tarfile

import pytest

from engine.errors import Corrupt, ImageError, NotFound
from engine.image.archive import load, save
from engine.image.commit import commit
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.image.layer.overlay import make_whiteout
from engine.paths import Roots
from engine.spec.image import ImageConfig
from engine.store import Store


@pytest.fixture
def elsewhere(tmp_path):
    store = Store(Roots(str(tmp_path / "elsewhere"), str(tmp_path / "run")))
    yield ImageStore(store)
    store.close()


@pytest.fixture
def image(images, tmp_path):
    """An image of two layers, the upper one with a whiteout."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("a", "b"):
            tar.addfile(tarfile.TarInfo(name))
    out.seek(0)
    base = import_rootfs(images, out, config=ImageConfig(command=("sh",)))
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / "c").write_text("new")
    fd = os.open(upper, os.O_RDONLY)
    make_whiteout(fd, "a")
    os.close(fd)
    return commit(images, base.id, str(upper), tags=["app:1"], author="me", message="changed")


def test_a_commit_is_its_base_and_the_changes(images, image):
    assert len(image.layers) == 2
    assert image.config.command == ("sh",)
    file = images.file(image.id)
    assert (file.author, file.history[-1].comment) == ("me", "changed")


def test_a_commit_without_changes_makes_no_layer(images, image, tmp_path):
    (tmp_path / "empty").mkdir()
    again = commit(images, image.id, str(tmp_path / "empty"), config=ImageConfig(user="web"))
    assert again.layers == image.layers
    assert again.config == ImageConfig(user="web")
    assert images.file(again.id).history[-1].empty_layer


@pytest.mark.parametrize("name", ["app:1", "id"])
def test_there_and_back(images, elsewhere, image, name):
    out = io.BytesIO()
    save(images, [image.id if name == "id" else name], out)
    out.seek(0)
    (loaded,) = load(elsewhere, out)
    assert (loaded.id, loaded.tags) == (image.id, () if name == "id" else ("docker.io/library/app:1",))
    # And from there again: the streams are the same.
    again = io.BytesIO()
    save(elsewhere, [loaded.id if name == "id" else name], again)
    assert again.getvalue() == out.getvalue()


def test_what_docker_expects_is_there(images, image):
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    tar = tarfile.open(fileobj=out)
    (entry,) = json.load(tar.extractfile("manifest.json"))
    assert entry["RepoTags"] == ["app:1"]
    assert {entry["Config"], *entry["Layers"], "oci-layout", "index.json"} <= set(tar.getnames())


def test_a_missing_image(images):
    with pytest.raises(NotFound):
        save(images, ["gone"], io.BytesIO())


def spoiled(archive, change):
    """The archive with `change` applied to each (name, bytes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=archive) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            data = change(member.name, old.extractfile(member).read())
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    out.seek(0)
    return out


def test_a_tampered_layer_is_refused(images, elsewhere, image):
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    bad = spoiled(out, lambda name, data: data.replace(b"new", b"bad") if name.startswith("blobs") else data)
    with pytest.raises(Corrupt, match="diff_id"):
        load(elsewhere, bad)
    assert elsewhere.all() == []


@pytest.mark.parametrize("gone", ["manifest.json", "blobs"])
def test_an_incomplete_archive_is_refused(images, elsewhere, image, gone):
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    with pytest.raises(ImageError, match="it has no"):
        load(elsewhere, spoiled(out, lambda name, data: None if name.startswith(gone) else data))


def test_what_is_no_archive_is_refused(elsewhere):
    with pytest.raises(ImageError):
        load(elsewhere, io.BytesIO(b"nonsense" * 1000))
