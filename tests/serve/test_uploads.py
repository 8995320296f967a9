"""Uploads of build clients are removed after the build; those of a killed server, when the next one starts."""

import os
import stat

from composer.serve import uploads
from engine.paths import Roots


def test_a_folder_goes_with_its_build(tmp_path):
    roots = Roots(str(tmp_path / "s"), str(tmp_path / "r"))
    with uploads.folder(roots) as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        uploads.sweep(roots)
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)


def test_what_a_killed_server_left_is_removed(tmp_path):
    roots = Roots(str(tmp_path / "s"), str(tmp_path / "r"))
    uploads.sweep(roots)
    if not (pid := os.fork()):
        with uploads.folder(roots) as folder:
            with open(f"{folder}/secret", "w") as file:
                file.write("x")
            os._exit(0)
    os.waitpid(pid, 0)
    left = os.listdir(f"{roots.cache}/build")
    assert len(left) == 1
    uploads.sweep(roots)
    assert os.listdir(f"{roots.cache}/build") == []
