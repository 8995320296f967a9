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
def test_modes_as_chmod(tmp_path, text, before, kind):
    path = tmp_path / "x"
    path.mkdir() if kind == "directory" else path.touch()
    os.chmod(path, before)
    expected = Mode.parse(text).of(os.stat(path).st_mode)
    subprocess.run(["chmod", text, path], check=True, umask=0)
    assert oct(expected) == oct(stat.S_IMODE(os.stat(path).st_mode))


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("=rx", 0o7777, 0o1555),
        ("u=rwX,go=rX", 0o6750, 0o755),
        ("g=", 0o6750, 0o4700),
        ("u=g", 0o6750, 0o6550),
        ("o+s", 0o755, 0o755),
        ("o+t", 0o755, 0o755),
        ("=rwxst", 0o640, 0o1640),
        ("=t+x", 0o644, 0o1755),
        ("u=gr", 0o4755, 0o455),
        ("a-x,a+X", 0o755, 0o755),
    ],
)
@pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFDIR])
def test_special_bits_as_buildkit(text, before, after, kind):
    # BuildKit (Docker Engine 28.5) gave these modes; GNU's chmod differs.
    assert oct(Mode.parse(text).of(kind | before)) == oct(after)


@pytest.mark.parametrize("text", ["", "999", "u=z", "rwx,", "12345", "u=rwx go=r", "u=6", "u", "U=r"])
def test_invalid_modes_are_refused(text):
    with pytest.raises(ValueError, match="invalid chmod"):
        Mode.parse(text)
