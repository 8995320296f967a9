import io
import json
import lzma
import os
import tarfile

import msgspec
import pytest

from engine.errors import Corrupt, ImageError, NotFound
from engine.image import attached
from engine.image import config as image_config
from engine.image.archive.loading import load, load_stream
from engine.image.archive.saving import save
from engine.image.attached import Attached, Attestation
from engine.image.commit import commit
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.image.layer.overlay import make_whiteout
from engine.image.layer.pack import pack
from engine.image.layer_add import seal
from engine.image.layer_blob import Compression, blob_of
from engine.paths import Roots
from engine.spec.image import ImageConfig, SavedImage
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
def test_round_trip(images, elsewhere, image, name):
    out = io.BytesIO()
    save(images, [image.id if name == "id" else name], out)
    out.seek(0)
    (loaded,) = load(elsewhere, out)
    assert (loaded.id, loaded.tags) == (image.id, () if name == "id" else ("docker.io/library/app:1",))
    # Saving it again gives the same streams.
    again = io.BytesIO()
    save(elsewhere, [loaded.id if name == "id" else name], again)
    assert again.getvalue() == out.getvalue()


def test_archive_has_dockers_layout(images, image):
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


def test_an_incomplete_archive_is_refused(images, elsewhere, image):
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    with pytest.raises(ImageError, match="it has no"):
        load(elsewhere, spoiled(out, lambda name, data: None if name.startswith("blobs") else data))


@pytest.mark.parametrize("gone", ["manifest.json", "index.json"])
def test_either_list_of_the_images_is_enough(images, elsewhere, image, gone):
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    (loaded,) = load(elsewhere, spoiled(out, lambda name, data: None if name == gone else data))
    assert (loaded.id, loaded.tags) == (image.id, ("docker.io/library/app:1",))
    assert elsewhere.need("app:1").id == image.id


def test_without_any_list_nothing_is_loaded(images, elsewhere, image):
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    lists = ("manifest.json", "index.json")
    with pytest.raises(ImageError, match="it has no"):
        load(elsewhere, spoiled(out, lambda name, data: None if name in lists else data))


def foreign(images, image, tmp_path):
    """The same image for another platform, also under its name."""
    (tmp_path / "empty").mkdir()
    file = json.loads(images.blobs.read(image.id)) | {"architecture": "s390x"}
    record = images.record(json.dumps(file).encode(), images.chain(image.id))
    images.set_variants("app:1", {"linux/s390x": record.id})
    return record


def test_archive_holds_platforms_and_attestations(images, elsewhere, image, tmp_path):
    other = foreign(images, image, tmp_path)
    statement = Attestation("https://slsa.dev/provenance/v1", msgspec.Raw(b'{"a":1}'))
    extras = Attached(manifest={"k": "v"}, index={"i": "j"}, attestations=(statement,))
    attached.write(images.store.roots, other.id, extras)
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    (loaded,) = load(elsewhere, out)
    assert loaded.id == image.id
    assert elsewhere.variants("app:1") == {"linux/s390x": other.id}
    assert attached.read(elsewhere.store.roots, other.id) == extras
    assert attached.read(elsewhere.store.roots, image.id).attestations == ()


def test_archive_of_one_platform(images, elsewhere, image, tmp_path):
    other = foreign(images, image, tmp_path)
    out = io.BytesIO()
    save(images, ["app:1"], out, platforms=["linux/s390x"])
    out.seek(0)
    (loaded,) = load(elsewhere, out)
    assert (loaded.id, loaded.tags) == (other.id, ("docker.io/library/app:1",))
    with pytest.raises(NotFound, match="linux/arm64"):
        save(images, ["app:1"], io.BytesIO(), platforms=["linux/arm64"])
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    with pytest.raises(NotFound, match="linux/arm64"):
        load(elsewhere, out, platforms=["linux/arm64"])


def test_a_repository_is_saved_with_all_its_tags(images, elsewhere, image):
    images.tag("app:1", "app:2")
    images.tag("app:1", "other:1")
    out = io.BytesIO()
    save(images, ["app", "app:1"], out)
    out.seek(0)
    tar = tarfile.open(fileobj=out)
    (entry,) = json.load(tar.extractfile("manifest.json"))
    assert entry["RepoTags"] == ["app:1", "app:2"]
    assert len(tar.getnames()) == len(set(tar.getnames()))
    out.seek(0)
    (loaded,) = load(elsewhere, out)
    assert loaded.tags == ("docker.io/library/app:1", "docker.io/library/app:2")


def test_an_archive_for_other_tools_only(images, elsewhere, image):
    out = io.BytesIO()
    save(images, [SavedImage(id=image.id, tags=("docker.io/library/new:1",))], out, docker=False)
    out.seek(0)
    assert "manifest.json" not in tarfile.open(fileobj=out).getnames()
    out.seek(0)
    (loaded,) = load(elsewhere, out)
    assert (loaded.id, loaded.tags) == (image.id, ("docker.io/library/new:1",))


@pytest.mark.parametrize("tagged", [True, False])
def test_an_archive_of_dockers_first_format(images, elsewhere, image, tagged):
    layers = []
    for layer in images.layers.need(images.chain(image.id)):
        out = io.BytesIO()
        root = os.open(images.layers.path(layer.folder), os.O_RDONLY)
        pack(root, out.write)
        os.close(root)
        layers.append(out.getvalue())
    names = ["a" * 64, "b" * 64]
    files = {
        f"{names[0]}/json": json.dumps({"id": names[0], "created": "2014-01-01T00:00:00Z"}).encode(),
        f"{names[0]}/layer.tar": layers[0],
        f"{names[1]}/json": json.dumps(
            {"id": names[1], "parent": names[0], "os": "linux", "architecture": "amd64", "config": {"Cmd": ["run"]}}
        ).encode(),
        f"{names[1]}/layer.tar": layers[1],
        f"{names[1]}/VERSION": b"1.0",
    }
    if tagged:
        files["repositories"] = json.dumps({"app": {"old": names[1]}}).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    archive.seek(0)
    (loaded,) = load(elsewhere, archive)
    assert loaded.tags == (("docker.io/library/app:old",) if tagged else ())
    assert loaded.config.command == ("run",)
    assert elsewhere.chain(loaded.id) == images.chain(image.id)


def test_loading_may_be_the_first_thing_that_is_done(images, elsewhere, image, tmp_path):
    """No state root exists yet into which the archive could be copied."""
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    assert not os.path.exists(elsewhere.store.roots.state)
    assert [record.id for record in load_stream(elsewhere, out)] == [image.id]


def test_non_archives_are_refused(elsewhere):
    with pytest.raises(ImageError):
        load(elsewhere, io.BytesIO(b"nonsense" * 1000))


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compressed_layer_is_stored_unchanged(images, elsewhere, image, kind):
    out = io.BytesIO()
    save(images, ["app:1"], out, compression=kind)
    out.seek(0)
    (entry,) = json.load(tarfile.open(fileobj=out).extractfile("manifest.json"))
    out.seek(0)
    (loaded,) = load(elsewhere, out)
    blobs = [layer.blob for layer in elsewhere.layers.need(elsewhere.chain(loaded.id))]
    assert [f"blobs/{blob.replace(':', '/')}" for blob in blobs] == entry["Layers"]


def test_a_layer_that_no_registry_takes_is_kept_uncompressed(images, elsewhere, image):
    out = io.BytesIO()
    save(images, ["app:1"], out)
    out.seek(0)
    (entry,) = json.load(tarfile.open(fileobj=out).extractfile("manifest.json"))
    out.seek(0)

    def change(name, data):
        return None if name == "index.json" else lzma.compress(data) if name in entry["Layers"] else data

    (loaded,) = load(elsewhere, spoiled(out, change))
    for layer in elsewhere.layers.need(elsewhere.chain(loaded.id)):
        assert layer.blob == layer.diff_id
    again = io.BytesIO()
    save(elsewhere, ["app:1"], again)
    assert again.getvalue() == out.getvalue()


def test_a_changed_root_directory_comes_back(images, elsewhere, image):
    """As after `RUN chmod 711 /`: the layer's stream has an entry for the root."""
    (parent,) = images.layers.need(images.chain(image.id)[-1:])
    with images.layers.draft(parent.folder) as draft:
        os.fchmod(draft.fd, 0o711)
        layer = seal(images.layers, draft, parent)
    file = images.file(image.id)
    file.rootfs.diff_ids = [*file.rootfs.diff_ids, layer.diff_id]
    images.record(image_config.encode(file), [*images.chain(image.id), layer.chain_id], tags=["app:2"])
    out = io.BytesIO()
    save(images, ["app:2"], out)
    out.seek(0)
    (loaded,) = load(elsewhere, out)
    top = elsewhere.layers.need(elsewhere.chain(loaded.id))[-1]
    assert os.stat(elsewhere.layers.path(top.folder)).st_mode & 0o777 == 0o711
    assert blob_of(images, layer, Compression()).size > 0  # for a push


def test_layers_of_an_older_composer_are_saved_alike(images, image):
    """Their streams' length is not known."""
    out, again = io.BytesIO(), io.BytesIO()
    save(images, ["app:1"], out)
    with images.store.transaction() as db:
        db.execute("UPDATE layers SET stream = 0")
    save(images, ["app:1"], again)
    assert again.getvalue() == out.getvalue()


def test_a_wrong_recorded_length_is_found(images, image):
    with images.store.transaction() as db:
        db.execute("UPDATE layers SET stream = stream - 512")
    with pytest.raises(Corrupt, match="longer than"):
        save(images, ["app:1"], io.BytesIO())
