import shutil
import subprocess

import pytest

from engine.filetree.inode_flags import spread


@pytest.fixture
def ext4(tmp_path):
    if not shutil.which("mkfs.ext4"):
        pytest.skip("no mkfs.ext4")
    image, place = tmp_path / "image", tmp_path / "place"
    with open(image, "wb") as file:
        file.truncate(600 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^flex_bg", image], check=True)
    place.mkdir()
    if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, check=False).returncode:
        pytest.skip("no loop device")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_directories_of_ext4_are_spread(ext4):
    """They are in different block groups, and so are their files."""
    per_group = int(
        subprocess.run(["stat", "-f", "-c", "%c", ext4], capture_output=True, text=True, check=True).stdout
    ) // len(range(0, 600 << 20, 128 << 20))

    def groups(folder):
        for number in range(8):
            (folder / f"layer{number}").mkdir()
            (folder / f"layer{number}" / "file").touch()
        return {path.stat().st_ino // per_group for path in folder.glob("*/file")}

    for name in ("together", "apart"):
        (ext4 / name).mkdir()
    spread(ext4 / "apart")
    spread(ext4 / "apart")
    assert len(groups(ext4 / "together")) == 1
    assert len(groups(ext4 / "apart")) > 1


def test_unsupported_file_systems_are_ignored(tmp_path):
    spread("/proc/self")
    spread(tmp_path)
    with pytest.raises(NotADirectoryError):
        spread("/proc/self/status")
