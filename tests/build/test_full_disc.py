"""A full disk: a private tmpfs."""

import io
import os
import tarfile

import pytest

from engine.build import build
from engine.errors import OperationFailed
from engine.image import gc
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.kernel import calls, flags
from engine.paths import Roots
from engine.spec.image import BuildSpec
from engine.store import Store


@pytest.fixture
def images(tmp_path):
    """A store on a disk of 8 MiB, in a mount namespace for this thread and the threads that it starts."""
    home, folder = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY), os.getcwd()
    calls.unshare(flags.CLONE["mount"])
    calls.mount(None, "/", None, flags.MS["rec"] | flags.MS["private"])
    state = tmp_path / "state"
    state.mkdir()
    calls.mount("tmpfs", str(state), "tmpfs", 0, "size=8m")
    store = Store(Roots(str(state), str(tmp_path / "run")))
    yield ImageStore(store)
    store.close()
    calls.setns(home, flags.CLONE["mount"])
    os.close(home)
    os.chdir(folder)


def rootfs(size):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(4):
            info = tarfile.TarInfo(f"file{number}")
            info.size = size // 4
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    out.seek(0)
    return out


def test_failed_import_leaves_store_usable(images):
    small = import_rootfs(images, rootfs(1 << 20), tags=["small"])
    with pytest.raises(OperationFailed, match="ENOSPC"):
        import_rootfs(images, rootfs(32 << 20), tags=["large"])
    assert [record.id for record in images.all()] == [small.id]
    assert images.layers.names() == list(small.layers)
    assert import_rootfs(images, rootfs(2 << 20), tags=["medium"]).tags
    images.remove("medium")
    assert gc.collect(images).layers == 1


def test_a_blob_fails_cleanly(images):
    with pytest.raises(OperationFailed, match="ENOSPC"), images.blobs.ingest() as writer:
        for _ in range(32):
            writer.write(os.urandom(1 << 20))
    assert images.blobs.names() == []


def test_a_build_fails_cleanly(images, tmp_path):
    (tmp_path / "large").write_bytes(bytes(32 << 20))
    (tmp_path / "small").write_text("x")
    spec = BuildSpec(context=str(tmp_path), dockerfile_inline="FROM scratch\nCOPY small /\nCOPY large /\n")
    with pytest.raises(OperationFailed, match="ENOSPC"):
        build(spec, images=images, run=None)
    assert len(images.layers.names()) == 1
    assert images.all() == []
