import pytest

from tests.scenario.leaks import nothing_left
from tests.security.host import Host


@pytest.fixture
def host(roots):
    """A group of containers that is removed after the test, which must leave nothing behind."""
    with nothing_left(roots):
        found = Host(roots)
        yield found
        found.end()


@pytest.fixture
def made_image(roots, busybox_rootfs):
    """Creates an image from busybox with further entries: path → "-> target", "fifo", or a file's text; "path/" for
    a directory. Returns its id."""
    import io
    import tarfile

    from engine.image import gc
    from engine.image.images import ImageStore
    from engine.image.importing import import_rootfs
    from engine.spec.image import ImageConfig
    from engine.store import Store

    store = Store(roots)
    images = ImageStore(store)
    made = []

    def make(entries):
        out = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(busybox_rootfs)) as old, tarfile.open(fileobj=out, mode="w") as new:
            for member in old:
                if member.name not in entries:
                    new.addfile(member, old.extractfile(member) if member.isreg() else None)
            for name, text in entries.items():
                entry = tarfile.TarInfo(name.rstrip("/"))
                if name.endswith("/"):
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                elif text.startswith("-> "):
                    entry.type, entry.linkname = tarfile.SYMTYPE, text.removeprefix("-> ")
                elif text == "fifo":
                    entry.type = tarfile.FIFOTYPE
                else:
                    entry.size = len(text)
                new.addfile(entry, io.BytesIO(text.encode()))
        out.seek(0)
        config = ImageConfig(environment=("PATH=/bin",), command=("sh",))
        made.append(import_rootfs(images, out, tags=[f"made{len(made)}"], config=config).id)
        return made[-1]

    yield make
    for number in range(len(made)):
        images.remove(f"made{number}", force=True)
    gc.collect(images)
    store.close()
