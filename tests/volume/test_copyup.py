"""A new volume gets what a container of the image would see there: compared with the overlay itself."""

import os
import stat
import subprocess
import threading

import pytest

from engine.image.layer import overlay
from engine.image.merged import merged
from engine.spec.network import VolumeRecord, VolumeSpec
from engine.volume.copyup import copy_up

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path):
    """The image of the shell script in `SCRIPT`, each paragraph a layer, created by an overlay as for RUN."""
    made = []
    for number, script in enumerate(SCRIPT):
        upper, work, place = (tmp_path / f"{kind}{number}" for kind in ("layer", "work", "merged"))
        for folder in (upper, work, place):
            folder.mkdir()
        empty = tmp_path / "empty"
        empty.mkdir(exist_ok=True)
        lower = ":".join(str(path) for path in [*reversed(made), empty])
        options = f"lowerdir={lower},upperdir={upper},workdir={work},{overlay.features()}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, place], check=True)
        try:
            subprocess.run(["sh", "-ec", script], cwd=place, check=True)
        finally:
            subprocess.run(["umount", place], check=True)
        made.append(upper)
    return [str(path) for path in made]


SCRIPT = (
    "mkdir -p a/b c/d real e/f g/h k/l/m perm && for f in a/b/x c/d/x real/f e/f/x g/h/x k/l/m/x; do echo old > $f; done",
    "rm -rf a && mkdir -p a/b && echo new > a/b/y; chown 12:34 perm; chmod 2770 perm; echo 1 > real/one; ln real/one real/two",
    "rm -rf c; ln -s /real link; ln -s ../../../../../../real out",
    "rm -rf e && echo file > e",
    "rm e && mkdir -p e/f && echo 2 > e/f/z; rm -rf g; mkdir g; mkdir g/h; echo n > g/h/y",
    "rm -rf k/l && mkdir -p k/l/m && echo n > k/l/m/y",
)
PLACES = ("a/b", "c/d", "link", "out", "e/f", "g/h", "k/l/m", "perm", "a", "missing", "e")


@pytest.fixture
def volume(tmp_path):
    mountpoint = tmp_path / "volumes/v/_data"
    mountpoint.mkdir(parents=True, mode=0o755)
    return VolumeRecord(spec=VolumeSpec(name="v"), mountpoint=str(mountpoint))


def listing(top):
    command = ["find", "-H", f"{top}/.", "-printf", "%P %y %m %U %G %n %l %s\\n"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    # A directory's size and link count depend on the file system.
    return sorted(line.rsplit(" ", 3)[0] if " d " in line else line for line in lines)


@pytest.mark.parametrize("place", PLACES)
def test_a_volume_has_what_the_container_would_see(layers, volume, place):
    copy_up(layers, f"/{place}", volume)
    with merged(layers) as root:
        expected = f"/proc/{os.getpid()}/fd/{root}/{place.replace('link', 'real').replace('out', 'real')}"
        shown = listing(expected) if os.path.isdir(expected) else ["d"]
    assert listing(volume.mountpoint)[len(shown) == 1 :] == shown[len(shown) == 1 :]
    assert os.listdir(os.path.dirname(volume.mountpoint)) == ["_data"]


def test_volume_with_content_is_unchanged(layers, volume):
    with open(f"{volume.mountpoint}/own", "w"):
        pass
    copy_up(layers, "/real", volume)
    assert os.listdir(volume.mountpoint) == ["own"]


@pytest.mark.parametrize("state", [".copying", ".copied"])
def test_interrupted_copy_is_completed(layers, volume, state):
    """A kill between any two steps leaves a volume that the next start completes."""
    beside = os.path.join(os.path.dirname(volume.mountpoint), state)
    os.mkdir(beside, 0o750)
    with open(f"{beside}/f", "w") as file:
        file.write("half")
    if state == ".copied":  # one entry was moved already
        with open(f"{volume.mountpoint}/one", "w"):
            pass
    copy_up(layers, "/real", volume)
    assert sorted(os.listdir(volume.mountpoint)) == (["f", "one", "two"] if state == ".copying" else ["f", "one"])
    assert os.listdir(os.path.dirname(volume.mountpoint)) == ["_data"]
    if state == ".copied":
        assert stat.S_IMODE(os.stat(volume.mountpoint).st_mode) == 0o750


def test_concurrent_starts_copy_once(layers, volume):
    threads = [threading.Thread(target=copy_up, args=(layers, "/real", volume)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(os.listdir(volume.mountpoint)) == ["f", "one", "two"]


def test_file_capabilities_come_along(layers, volume):
    """Of a file in the upper layer and of one below it."""
    capability = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep (vfs_cap_data, revision 2)
    for layer, name in ((layers[1], "one"), (layers[-1], "two")):
        place = f"{layer}/perm/{name}"
        os.makedirs(os.path.dirname(place), exist_ok=True)
        open(place, "w").close()
        os.setxattr(place, "security.capability", capability)
    copy_up(layers, "/perm", volume)
    for name in ("one", "two"):
        assert os.getxattr(f"{volume.mountpoint}/{name}", "security.capability") == capability
