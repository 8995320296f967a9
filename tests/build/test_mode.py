import os
import stat
import subprocess

import pytest

from engine.build.mode import Mode


@pytest.mark.parametrize(
    "text",
    [
        "644",
        "4755",
        "u=rwX,go=rX",
        "a-w",
        "+x",
        "u+s,g+s",
        "o=",
        "go-rwx",
        "+t",
        "a=rX",
        "g=u",
        "o=g,u-w",
        "u+r-w",
        "go=u-w",
        "000644",
    ],
)
@pytest.mark.parametrize("before", [0o644, 0o755, 0o600])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_the_same_as_chmod(tmp_path, text, before, kind):
    path = tmp_path / "x"
    path.mkdir() if kind == "directory" else path.touch()
    os.chmod(path, before)
    expected = Mode.parse(text).of(os.stat(path).st_mode)
    subprocess.run(["chmod", text, path], check=True, umask=0)
    assert oct(expected) == oct(stat.S_IMODE(os.stat(path).st_mode))


@pytest.mark.parametrize("text", ["", "999", "u=z", "rwx,", "12345", "u=rwx go=r", "u=gr", "u"])
def test_others_are_refused(text):
    with pytest.raises(ValueError, match="invalid chmod"):
        Mode.parse(text)
