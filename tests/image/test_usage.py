"""The disk space of layers, with the blobs that are kept for pushes."""

import io
import os

import pytest

from engine.image import gc
from engine.image.importing import import_rootfs
from engine.image.layer_blob import Compression, blob_of
from engine.image.usage import usage
from tests.registry.conftest import rootfs

SIZE = 100_000


@pytest.fixture
def image(images):
    return import_rootfs(images, io.BytesIO(rootfs(file=os.urandom(SIZE))), tags=["a"])


def compressed(images, image):
    """The size of the blob of its only layer."""
    (layer,) = images.layers.need(images.chain(image.id))
    return blob_of(images, layer, Compression()).size


def test_the_blob_of_a_layer_counts_once(images, image):
    before = usage(images)
    assert before.layers == before.images[image.id] >= SIZE
    size = compressed(images, image)
    images.tag("a", "b")
    after = usage(images)
    assert size >= SIZE
    assert after.layers == after.images[image.id] == before.layers + size


def test_pruning_reports_what_it_frees(images, image):
    compressed(images, image)
    expected = usage(images).layers
    assert gc.prune(images, [image.id], preview=True).size == gc.prune(images, [image.id]).size == expected
    assert usage(images).layers == 0
