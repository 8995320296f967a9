import errno
import os

import pytest

from engine.errors import OperationFailed
from engine.image import merged as module
from engine.image.layer import overlay
from engine.image.merged import merged


@pytest.fixture(params=["detached", "thread"])
def way(request, monkeypatch):
    """Both ways of mounting: kernels before 6.5 lack lowerdir+."""
    if request.param == "thread":

        def old_kernel(*_):
            raise OperationFailed("fsconfig", "lowerdir+", errno.EINVAL)

        monkeypatch.setattr(module, "_mount_detached", old_kernel)


def folders(tmp_path, count):
    made = []
    for number in range(count):
        path = tmp_path / f"layer,with:odd name {number}"
        path.mkdir()
        (path / f"f{number}").write_text(str(number))
        (path / "common").write_text(str(number))
        made.append(str(path))
    return made


@pytest.mark.parametrize("count", [1, 2, 60])
def test_the_highest_layer_wins(tmp_path, way, count):
    with merged(folders(tmp_path, count)) as fd:
        assert sorted(os.listdir(fd)) == sorted(["common", *(f"f{number}" for number in range(count))])
        with open(os.open("common", os.O_RDONLY, dir_fd=fd)) as file:
            assert file.read() == str(count - 1)


def test_changes_go_to_the_upper_folder(tmp_path, way):
    lower = folders(tmp_path, 2)
    upper, work = tmp_path / "upper", tmp_path / "work"
    upper.mkdir()
    work.mkdir()
    with merged(lower, str(upper), str(work)) as fd:
        os.unlink("f0", dir_fd=fd)
        os.mkdir("new", dir_fd=fd)
    assert overlay.is_whiteout((upper / "f0").lstat())
    assert sorted(os.listdir(upper)) == ["f0", "new"]
    assert os.path.exists(f"{lower[0]}/f0")


def test_nothing_is_mounted_where_others_see_it(tmp_path, way):
    before = open("/proc/self/mountinfo").read()
    with merged(folders(tmp_path, 3)):
        assert open("/proc/self/mountinfo").read() == before
    assert len(os.listdir("/proc/self/fd")) < 100


def test_a_missing_layer_is_an_error(tmp_path, way):
    with pytest.raises(OperationFailed, match="gone"), merged([*folders(tmp_path, 1), str(tmp_path / "gone")]):
        pass
