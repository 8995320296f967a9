import io
import os
import shutil
import stat
import tarfile
import threading

import pytest

from engine.build import build
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.paths import Roots
from engine.spec.image import BuildSpec, ImageConfig
from engine.store import Store


@pytest.fixture
def images(tmp_path):
    store = Store(Roots(str(tmp_path / "state"), str(tmp_path / "run")))
    yield ImageStore(store)
    store.close()


@pytest.fixture
def context(tmp_path):
    """A build context; `write` takes path → content, None for a directory."""
    root = tmp_path / "context"
    root.mkdir()

    class Context:
        path = root

        def write(self, files):
            for name, content in files.items():
                place = root / name
                place.parent.mkdir(parents=True, exist_ok=True)
                if content is None:
                    place.mkdir(exist_ok=True)
                elif isinstance(content, bytes):
                    place.write_bytes(content)
                else:
                    place.write_text(content)
            return self

    return Context()


@pytest.fixture
def base(images):
    """An image `base` with a few files, without a program."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {
            "etc/passwd": b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n",
            "etc/group": b"root:x:0:\nstaff:x:50:\n",
            "usr/lib/keep": b"keep",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("lib")
        link.type, link.linkname = tarfile.SYMTYPE, "usr/lib"
        tar.addfile(link)
    out.seek(0)
    config = ImageConfig(environment=("PATH=/bin", "BASE=1"), command=("sh",), entrypoint=("/init",))
    return import_rootfs(images, out, tags=["base"], config=config, created="2024-01-01T00:00:00Z")


APPLETS = "sh ls cat echo mkdir touch rm id env sleep true false ln chmod chown stat mount pwd wc test ps ip sed wget"


@pytest.fixture
def busybox(images):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(shutil.which("busybox"), "bin/busybox")
        for name in APPLETS.split():
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        for name, text in {
            "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\n",
            "etc/group": "web:x:1000:\n",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        for name in ("dev", "proc", "sys"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        info = tarfile.TarInfo("tmp")
        info.type, info.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(info)
    out.seek(0)
    config = ImageConfig(environment=("PATH=/bin", "BASE=base"), command=("sh",))
    return import_rootfs(images, out, tags=["busybox"], config=config, created="2024-01-01T00:00:00Z")


class NoRun:
    def __call__(self, request, output, warn=None):
        raise AssertionError("no RUN was expected")


def swept():
    """Wait until the leftovers of builds are removed."""
    for thread in threading.enumerate():
        if thread.name == "rubbish":
            thread.join()


class Builder:
    """Builds in the test's context; `lines` holds the plain progress of the last build."""

    def __init__(self, images, context):
        self.images, self.context, self.lines, self.run = images, context, [], NoRun()

    def __call__(self, text, /, *, files=None, **spec):
        self.context.write(files or {})
        self.lines = []
        spec = {"context": str(self.context.path), "dockerfile_inline": text, **spec}
        try:
            return build(
                BuildSpec(**spec),
                images=self.images,
                run=self.run,
                progress=lambda event: self.lines.append(event["line"]),
            )
        finally:
            swept()

    @property
    def cached(self):
        return sum(line.endswith(" CACHED") for line in self.lines)

    def tree(self, record):
        """The image's files: path → content, "-> target" for links, "-> mode" for special files, None for directories."""
        from engine.image.merged import merged

        found = {}
        with merged([self.images.layers.path(folder) for folder in record.layers]) as fd:
            for folder, names, files, here in os.fwalk(".", dir_fd=fd):
                for name in names + files:
                    path = os.path.normpath(f"{folder}/{name}")
                    status = os.stat(name, dir_fd=here, follow_symlinks=False)
                    if stat.S_ISLNK(status.st_mode):
                        found[path] = "-> " + os.readlink(name, dir_fd=here)
                    elif stat.S_ISDIR(status.st_mode):
                        found[path] = None
                    elif not stat.S_ISREG(status.st_mode):
                        found[path] = f"-> {stat.filemode(status.st_mode)}"
                    else:
                        with open(os.open(name, os.O_RDONLY, dir_fd=here), "rb") as file:
                            found[path] = file.read().decode("latin-1")
        return found

    def stat(self, record, path):
        from engine.image.merged import merged

        with merged([self.images.layers.path(folder) for folder in record.layers]) as fd:
            return os.stat(path, dir_fd=fd, follow_symlinks=False)


@pytest.fixture
def builder(images, context):
    return Builder(images, context)


@pytest.fixture
def run(images):
    """Steps run in real containers, without access to the outside."""
    from engine.build.container_run import ContainerRun

    with ContainerRun(images.store.roots) as found:
        yield found
    assert not os.path.exists(found.folder)
