"""`watch` as a developer sees it: saved files are copied or trigger an action."""

import pathlib
import time

import pytest


@pytest.fixture
def watched(composer):
    """The project, watched."""
    composer.write(
        {
            ".dockerignore": "# not for the image\nsrc/secret\n",
            "src/a.txt": "one",
            "src/sub/b.txt": "b",
            "src/secret": "s",
            "src/.git/HEAD": "g",
            "conf/c.conf": "c1",
            "more/m": "m1",
            "app/code": "1",
            "hook/h": "h1",
        }
    )
    with open(composer.folder / "log", "w") as log:
        watch = composer.start("watch")
        for line in watch.stdout:
            log.write(line)
            if line == "Watch enabled\n":
                break
    yield composer
    composer.interrupt(watch)
    composer("down", "-t", "0", "--rmi", "local")


def shell(composer, script):
    return composer("exec", "-T", "web", "sh", "-c", script, code=None).out


def until(composer, script, wanted):
    deadline = time.monotonic() + 20
    while (found := shell(composer, script)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def save(composer, name, text):
    path = pathlib.Path(composer.folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_watch(watched):
    files = "cd /data && find . ! -type d | sort"
    assert shell(watched, files) == "./a.txt\n./sub/b.txt\n"

    ignored = ("x.tmp", "node_modules/m.js", "secret", ".a.txt.swp", "a.txt~", ".git/index", "kept/that")
    for name in (*ignored, "kept/this", "new/deep/n.txt", "a.txt"):
        save(watched, f"src/{name}", "two")
    until(watched, f"cat /data/a.txt; {files}", "two./a.txt\n./kept/this\n./new/deep/n.txt\n./sub/b.txt\n")

    (watched.folder / "src/sub").rename(watched.folder / "src/sub2")
    (watched.folder / "src/a.txt").unlink()
    until(watched, files, "./kept/this\n./new/deep/n.txt\n./sub2/b.txt\n")

    for name in ("conf/c.conf", "conf/not", "more/m"):  # changes at the same time, one restart
        save(watched, name, "c2\n")
    until(watched, "cat /starts /conf/* /more/*", "started\nstarted\nc2\nc2\n")
    assert shell(watched, "ls /conf") == "c.conf\n"

    save(watched, "hook/h", "h2\n")
    until(watched, "cat /ran", "h2\n")

    save(watched, "app/code", "2")
    until(watched, "cat /app/code /starts", "2started\n")
    assert shell(watched, "ls -d /ran") == ""


def test_a_failure_does_not_end_it(watched):
    dockerfile = (watched.folder / "Dockerfile").read_text()
    save(watched, "Dockerfile", "FROM scratch\nCOPY nothing /\n")
    save(watched, "app/code", "2")
    save(watched, "src/a.txt", "after")
    until(watched, "cat /data/a.txt /app/code", "after1")
    save(watched, "Dockerfile", dockerfile)
    save(watched, "app/code", "3")
    until(watched, "cat /app/code", "3")
