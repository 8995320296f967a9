"""--dry-run changes nothing, whatever the command."""

import pytest


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("exec", "-T", "web", "touch", "/touched"), 1, "interactive exec is not supported in dry-run mode"),
        (("exec", "-d", "web", "touch", "/touched"), 0, ""),
        (("attach", "web"), 1, "interactive run is not supported in dry-run mode"),
        (("rm", "-sf"), 0, "-web-1 Removed"),
        (("env", "set", "A=b"), 0, ""),
        (("stop",), 0, "-web-1 Stopped"),
        (("kill",), 0, "-web-1 Killed"),
        (("down", "-v"), 0, "-web-1 Removed"),
    ],
)
def test_dry_run(composer, words, code, said):
    composer.write(compose="services: {web: {image: busybox, init: true, command: [sleep, '1000']}}\n")
    composer("up", "-d")
    assert said in composer("--dry-run", *words, code=code).err
    assert [one["State"] for one in composer.ps()["web"]] == ["running"]
    assert composer("exec", "-T", "web", "ls", "/touched", code=1)
    assert not (composer.folder / ".env").exists()
