import io
import json
import os
import subprocess
import tarfile
import threading
import time

import pytest

from engine.build.cache import BuildCache
from engine.errors import BadReference, Conflict, Corrupt, NotFound
from engine.image import gc, lease
from engine.image.images import RECENT, ImageStore
from engine.image.importing import import_rootfs
from engine.image.layer_add import add, seal
from engine.spec.image import ImageConfig
from engine.store import Store


def rootfs(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    out.seek(0)
    return out


def make(images, *tags, **files):
    return import_rootfs(images, rootfs(**(files or {"a": "1"})), tags=tags, created="2024-01-01T00:00:00Z")


def use(images, record, name="web-1"):
    folder = f"{images.store.roots.groups}/g/{name}"
    os.makedirs(folder)
    with open(f"{folder}/spec.json", "w") as file:
        json.dump({"name": name, "image": record.id}, file)


def test_an_image_is_found_by_its_names(images):
    record = make(images, "app:1", "ghcr.io/x/app")
    assert record.tags == ("docker.io/library/app:1", "ghcr.io/x/app:latest")
    for name in (
        "app:1",
        "docker.io/app:1",
        "ghcr.io/x/app",
        record.id,
        record.id[7:],
        record.id[7:19],
        record.id[:20],
    ):
        assert images.get(name) == record
    assert images.get("app") is None
    assert images.get("0" * 12) is None
    with pytest.raises(BadReference):
        images.get("NOT A NAME")
    with pytest.raises(NotFound):
        images.need("gone")


def test_a_tag_goes_before_a_short_id(images):
    record = make(images, "app")
    other = make(images, record.id[7:19], b="2")
    assert images.get(record.id[7:19]).id == other.id


def test_reading_by_id_is_cheap(images):
    record = make(images, "app")
    code = (
        "import sys; from engine.paths import Roots; from engine.store import Store; "
        "from engine.image.images import ImageStore; "
        f"images = ImageStore(Store(Roots({images.store.roots.state!r}, '/run/x'))); "
        f"assert images.get({record.id!r}).layers; "
        "heavy = {'urllib3', 'ssl', 'http.client', 'zstandard', 'tarfile', 'subprocess'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([os.sys.executable, "-c", code], check=True)


def test_the_same_content_is_the_same_image_with_one_layer(images):
    assert make(images, "a").id == make(images, "b").id
    assert images.get("a").tags == ("docker.io/library/a:latest", "docker.io/library/b:latest")
    assert len(images.layers.names()) == 1


def test_layers_are_closed_to_other_users(images):
    make(images, "a")
    assert os.stat(images.layers.root).st_mode & 0o777 == 0o700


def test_a_tag_moves(images):
    one, two = make(images, "app"), make(images, "app", b="2")
    assert images.get("app").id == two.id
    assert images.get(one.id).tags == ()
    images.tag(one.id, "app")
    assert images.get("app").id == one.id


def test_removing_a_tag_and_then_the_image(images):
    record = make(images, "a", "b")
    assert images.remove("a") == ["Untagged: a:latest"]
    assert images.remove("b") == ["Untagged: b:latest", f"Deleted: {record.id}"]
    assert images.all() == []
    assert gc.collect(images).layers == 1
    assert images.layers.names() == images.blobs.names() == []


def test_removing_by_id(images):
    record = make(images, "a", "b")
    with pytest.raises(Conflict, match="several tags"):
        images.remove(record.id)
    assert len(images.remove(record.id[7:20], force=True)) == 3


def test_an_image_in_use_is_kept(images):
    record = make(images, "a")
    use(images, record)
    with pytest.raises(Conflict, match="in use by web-1"):
        images.remove("a")
    assert images.remove("a", force=True) == ["Untagged: a:latest"]
    assert gc.prune(images, [record.id for record in images.all()]).images == ()
    assert images.get(record.id).layers == record.layers
    assert os.path.exists(images.layers.path(record.layers[0]) + "/a")


def test_collection_keeps_what_is_shared_and_removes_what_a_crash_left(images):
    base = make(images, "base")
    layers = images.layers
    bottom = layers.need(images.chain(base.id))[0]
    with lease.adding(images.store.roots):
        top = add(layers, rootfs(b="2"), "top", parent=bottom)
        file = images.blobs.read(base.id)
        images.record(file.replace(b"2024", b"2025"), [bottom.chain_id, top.chain_id], tags=["top"])
    for name in (".draft-dead", "0123456789ab"):
        os.makedirs(f"{layers.root}/{name}/diff/x")
    with open(f"{images.blobs.folder}/.partial-dead", "w"):
        pass
    images.remove("base")
    done = gc.collect(images)
    assert (done.layers, done.blobs) == (0, 2)
    assert sorted(layers.names()) == sorted([bottom.folder, top.folder])
    images.remove("top")
    assert gc.collect(images).layers == 2


def test_nothing_is_collected_during_an_addition(images):
    make(images, "a")
    images.remove("a")
    with lease.adding(images.store.roots):
        assert gc.collect(images) is None
    assert gc.collect(images).layers == 1


def test_untagged_images_are_pruned(images):
    old = make(images, "app")
    make(images, "app", b="2")
    assert gc.prune(images, [record.id for record in images.all() if not record.tags]).images == (old.id,)
    assert [record.tags for record in images.all()] == [("docker.io/library/app:latest",)]


def test_uncommitted_draft_is_removed(images):
    with pytest.raises(RuntimeError), images.layers.draft() as draft:
        os.mkdir(f"{draft.diff}/x")
        raise RuntimeError
    assert images.layers.names() == []


def test_the_root_directory_of_the_base_shows(images):
    with images.layers.draft() as draft:
        os.fchmod(draft.fd, 0o711)
        os.fchown(draft.fd, 5, 6)
        base = seal(images.layers, draft, None)
    with images.layers.draft(base.folder) as draft:
        assert not draft.changed
        status = os.stat(draft.fd)
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (5, 6, 0o711)


def test_concurrent_writers_of_one_layer(images):
    """Both get the layer; one copy is kept."""
    roots = images.store.roots
    found, gate = [], threading.Barrier(2)

    def run():
        mine = ImageStore(Store(roots))
        with mine.layers.draft() as draft:
            with open(f"{draft.diff}/x", "w"):
                pass
            os.utime(f"{draft.diff}/x", (1, 1))
            gate.wait()
            found.append(seal(mine.layers, draft, None))
        mine.store.close()

    make(images)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(images.layers.names()) == 2


def test_failed_import_leaves_no_image(images):
    with pytest.raises(Corrupt):
        import_rootfs(images, io.BytesIO(rootfs(a="1" * 10_000).getvalue()[:60]), tags=["x"])
    assert images.all() == []
    assert images.layers.names() == []


def test_the_configuration_is_kept(images):
    config = ImageConfig(command=("sh",), environment=("A=b",), user="web")
    record = import_rootfs(images, rootfs(a="1"), config=config)
    assert images.get(record.id).config == config
    assert images.file(record.id).history[0].comment == "imported from rootfs"


def test_time_of_last_pull(images):
    before = time.time()
    record = make(images, "web:1")
    assert before <= record.tagged_at <= time.time()
    assert record.created_at < before
    images.tag("web:1", "web:2")
    again = images.need("web:1")
    assert again.tagged_at >= record.tagged_at
    assert make(images, "web:1").tagged_at >= again.tagged_at
    assert make(images, b="2").tagged_at == 0.0


def test_an_image_that_is_removed_while_it_is_tagged(images, monkeypatch):
    record = make(images, "app:1")
    images.remove(record.id)
    monkeypatch.setattr(images, "need", lambda name: record)
    with pytest.raises(NotFound):
        images.tag("app:1", "app:2")


def test_an_image_that_was_built_just_now_is_not_recorded_again(images):
    made = make(images, "app:1")
    file, chain = images.blobs.read(made.id), images.chain(made.id)

    def changes(*tags):
        before = images.store.db.total_changes
        record = images.record(file, chain, tags=tags, replaces=True, built=True)
        assert record.id == made.id
        return images.store.db.total_changes - before

    assert changes("app:1")  # it was imported before
    assert not changes("app:1")
    assert changes("app:1", "app:2")
    assert not changes("app:1", "app:2")
    other = make(images, "app:2", b="2")
    assert changes("app:1", "app:2")
    assert images.need("app:2").id == made.id != other.id
    images.set_variants("app:2", {"linux/arm64": other.id})
    assert changes("app:2")
    assert not images.variants("app:2")
    with images.store.transaction() as db:
        db.execute("UPDATE tags SET tagged_at = tagged_at - ?", (RECENT,))
    assert changes("app:1")
    with images.store.transaction() as db:
        db.execute("UPDATE tags SET tagged_at = tagged_at + ?", (RECENT,))  # the clock was ahead
    assert changes("app:1")
    images.remove("app:1")
    assert changes("app:1")
    assert images.need("app:1").tagged_at > time.time() - RECENT


def test_cached_steps_that_were_used_just_now_are_not_recorded_again(images):
    cache = BuildCache(images.store)
    cache.put("key", (), "RUN true")
    before = images.store.db.total_changes
    cache.touch(["key"])
    cache.touch([])
    assert images.store.db.total_changes == before
    with images.store.transaction() as db:
        db.execute("UPDATE build_cache SET used_at = used_at - ?", (RECENT,))
    cache.touch(["key", "other"])
    assert images.store.db.execute("SELECT used_at FROM build_cache").fetchone()[0] > time.time() - RECENT
