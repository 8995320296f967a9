"""Images with impossible declarations: Docker's behaviour, or one clear error, and nothing half-made remains."""

import io
import tarfile

import pytest

from engine.errors import EngineError
from engine.image.images import ImageStore
from engine.image.importing import import_rootfs
from engine.spec.container import Mount
from engine.spec.image import ImageConfig
from engine.store import Store


@pytest.fixture
def image(box, busybox_rootfs):
    """Imports an image with a configuration, and links (path → target) in its root; its id."""
    store = Store(box.roots)
    images = ImageStore(store)
    made = []

    def make(config, links=()):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            with tarfile.open(fileobj=io.BytesIO(busybox_rootfs)) as source:
                for member in source:
                    if member.name.lstrip("./") not in dict(links):
                        tar.addfile(member, source.extractfile(member) if member.isreg() else None)
            for path, target in links:
                link = tarfile.TarInfo(path)
                link.type, link.linkname = tarfile.SYMTYPE, target
                tar.addfile(link)
        archive.seek(0)
        record = import_rootfs(images, archive, tags=[], config=ImageConfig(**config))
        made.append(record.id)
        return record.id

    yield make
    for record_id in made:
        box.engine.remove_image(record_id, force=True)
    store.close()


@pytest.mark.parametrize("stop_signal", ["SIGFOO", "0", "65", "RTMIN+99", "9999999999999"])
def test_image_with_an_invalid_stop_signal(box, image, stop_signal):
    """SIGTERM, as with Docker: its containers can be stopped and removed."""
    script = "trap 'exit 7' TERM; touch /ready; while :; do sleep 0.05; done"
    config = {"stop_signal": stop_signal, "environment": ("PATH=/bin",)}
    record = box.start("sh", "-c", script, image=image(config), stop_signal="")
    box.inside(record, "while ! [ -e /ready ]; do sleep 0.01; done")
    assert box.do(box.session.stop(record.id, timeout=30)).exit_code == 7


REFUSED = [
    (("/",), "the image declares a volume at '/': cannot mount over /, the container's root"),
    (("../..",), "the image declares a volume at '../..': cannot mount over /"),
    (("//",), "the image declares a volume at '//': cannot mount over /"),
    (("/proc/",), "the image declares a volume at '/proc/': cannot mount over /proc"),
    (("/proc/self",), "at /proc/self: it is inside /proc"),
    (("/dev",), "/dev/null: ENOENT: No such file or directory\nWhat is mounted at /dev must have the null device."),
    (("/etc/passwd",), "at /etc/passwd: the target, or a directory above it, is a file in the container"),
    (("/etc/hosts/x",), "at /etc/hosts/x: the target, or a directory above it, is a file in the container"),
]


@pytest.mark.parametrize(("volumes", "message"), REFUSED)
def test_invalid_volumes_of_an_image(box, image, volumes, message):
    with pytest.raises(EngineError) as raised:
        box.start(image=image({"volumes": volumes, "command": ("true",)}))
    assert message in str(raised.value)
    assert "[Errno" not in str(raised.value)


@pytest.mark.parametrize("volume", ["/sys", "/sys/fs/cgroup", "/dev/shm", "/dev/pts", "/etc", "rel/x", "/a:/b:ro"])
def test_volumes_that_docker_accepts(box, image, volume):
    assert box.shell("echo works", image=image({"volumes": (volume, "/a", "/a//", "/b/../a")})) == "works"


@pytest.mark.parametrize("target", ["/proc/self/mem", "/dev/zero", "/etc", "/proc/1/environ"])
def test_user_list_that_is_not_a_file(box, image, target):
    with pytest.raises(EngineError, match=r"/etc/passwd: (it is not|EIO|EISDIR)|no matching entry") as raised:
        box.start("true", image=image({"user": "bob"}, links=[("etc/passwd", target)]))
    assert "[Errno" not in str(raised.value)


def test_no_program(box, image):
    with pytest.raises(EngineError, match="executable file not found"):
        box.start(image=image({"entrypoint": ("",)}))


def test_a_file_over_a_directory(box, tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(EngineError, match="the source is a file, but the target is a directory in the container"):
        box.start("true", mounts=(Mount(type="bind", source=str(tmp_path / "f"), target="/etc"),))
    with pytest.raises(EngineError, match="the target, or a directory above it, is a file in the container"):
        box.start("true", mounts=(Mount(type="bind", source=str(tmp_path), target="/etc/passwd"),))
