"""A limit for the disk usage of images."""

import io

import pytest

from engine.image import gc
from engine.image.importing import import_rootfs
from tests.registry.conftest import rootfs

SIZE = 100_000


@pytest.fixture
def make(images):
    """An image of SIZE bytes, tagged `age` hours ago."""

    def one(name, age, **files):
        content = files or {name: name.encode() * (SIZE // len(name))}
        record = import_rootfs(images, io.BytesIO(rootfs(**content)), tags=[name])
        with images.store.transaction() as db:
            db.execute("UPDATE tags SET tagged_at = tagged_at - ? WHERE image_id = ?", (age * 3600, record.id))
        return record

    return one


def use(images, record):
    with images.store.transaction() as db:
        db.execute("INSERT INTO containers VALUES ('c', 'name', 'group', ?)", (record.id,))


def test_the_oldest_that_nothing_uses_go(images, make):
    oldest, old, used, young = make("a", 9), make("b", 8), make("c", 10), make("d", 0)
    use(images, used)
    assert gc.trim(images, 4 * SIZE + 50_000).images == ()
    seen = gc.trim(images, 3 * SIZE + 50_000, preview=True)
    assert seen.images == (oldest.id,) and seen.size >= SIZE
    assert images.get("a")
    assert gc.trim(images, 3 * SIZE + 50_000).images == (oldest.id,)
    assert images.get("a") is None
    # Neither images in use nor recent ones are removed, whatever the limit.
    assert gc.trim(images, 0).images == (old.id,)
    assert {record.id for record in images.all()} == {used.id, young.id}


def test_shared_layers_count_once(images, make):
    one = make("a", 9)
    images.tag("a", "b")
    assert gc.trim(images, SIZE + 50_000).images == ()
    assert images.get("b").id == one.id
