import io

import pytest

from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.store import Store


@pytest.fixture
def images(box, busybox_rootfs):
    """Creates images: busybox with another configuration, or a given root file system; returns the id."""
    store = Store(box.roots)
    made = []

    def make(config=None, rootfs=busybox_rootfs):
        image = import_rootfs(ImageStore(store), io.BytesIO(rootfs), config=config)
        made.append(image.id)
        return image.id

    yield make
    box.remove_all()
    for image in made:
        ImageStore(store).remove(image, force=True)
    store.close()
