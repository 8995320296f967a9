import os

import pytest

from engine.image import gc, rubbish
from tests.build.conftest import swept


def hidden(images):
    swept()
    return [name for name in os.listdir(images.layers.root) if name.startswith(".")]


@pytest.mark.root
def test_a_layer_that_exists_is_removed_beside_the_build(builder, base, images):
    files = {f"d/{number}": str(number) for number in range(50)}
    first = builder("FROM base\nCOPY d /d", files=files)
    assert builder("FROM base\nCOPY d /d", no_cache=True).layers == first.layers
    assert not hidden(images)


@pytest.mark.root
def test_layers_of_an_image_that_a_build_replaced_are_removed_beside_it(builder, base, images, monkeypatch):
    removed = []
    layers = [
        builder("FROM base\nCOPY file /", files={"file": text}, tags=["app"], no_cache=True).layers[-1] for text in "ab"
    ]
    with images.store.transaction() as db:
        db.execute("DELETE FROM build_cache")
    assert all(layer in images.layers.names() for layer in layers)
    monkeypatch.setattr("engine.image.layers.remove_at", lambda _, name: removed.append(name))
    gc.collect(images, later=True)
    rubbish.start_sweeping(images.layers.root)
    assert layers[0] not in images.layers.names() and layers[1] in images.layers.names()
    assert not removed and not hidden(images)


@pytest.mark.root
def test_leftovers_of_a_crash_are_removed_by_the_next_build(builder, base, images):
    left = f"{images.layers.root}/.rubbish-left/diff/folder"
    os.makedirs(left)
    builder("FROM base\nCOPY file /", files={"file": "a"})
    assert not hidden(images)
