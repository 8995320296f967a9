"""Layers and power failures: what is valid before its files are on disk."""

import pytest

from engine.image import gc
from engine.image.layer_add import add
from engine.image.layers import LayerStore
from tests.registry.conftest import rootfs


@pytest.fixture
def layer(images):
    import io

    return add(images.layers, io.BytesIO(rootfs(a=b"1")), "test")


def unsynced(images):
    return [row[0] for row in images.store.db.execute("SELECT unsynced FROM layers")]


def test_layer_of_this_boot_is_trusted(images, layer):
    assert images.layers.get(layer.chain_id) == layer
    assert unsynced(images) != [""]
    images.layers.sync()
    assert unsynced(images) == [""]
    assert images.layers.get(layer.chain_id) == layer


def test_an_image_has_only_layers_on_the_disc(images, monkeypatch):
    import io

    from engine.image.importing import import_rootfs

    done = []
    monkeypatch.setattr("engine.image.layers.syncfs", lambda fd: done.append(unsynced(images)))
    import_rootfs(images, io.BytesIO(rootfs(a=b"1")), tags=["x"])
    assert len(done) == 1 and unsynced(images) == [""]


def test_unsynced_layer_of_earlier_boot_is_rebuilt(images, layer):
    import io

    with images.store.transaction() as db:
        db.execute("UPDATE layers SET unsynced = 'an earlier boot'")
    assert images.layers.get(layer.chain_id) is None
    again = add(images.layers, io.BytesIO(rootfs(a=b"1")), "test")
    assert again.chain_id == layer.chain_id and again.folder != layer.folder
    assert images.layers.get(layer.chain_id) == again
    images.layers.sync()


def test_the_collector_removes_it(images, layer):
    with images.store.transaction() as db:
        db.execute("UPDATE layers SET unsynced = 'an earlier boot'")
    gc.collect(images)
    assert LayerStore(images.store).names() == []


def test_a_build_after_a_power_failure(images, layer):
    from engine.build.cache import BuildCache

    cache = BuildCache(images.store)
    cache.put("key", [layer.chain_id], "COPY")
    assert cache.get("key")
    with images.store.transaction() as db:
        db.execute("UPDATE layers SET unsynced = 'an earlier boot'")
    assert cache.get("key") is None
