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
            "fresh/f": "f1",
            "bound/below/x": "x",
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


def test_a_rebuild_starts_afresh_even_if_the_image_stays(watched):
    shell(watched, "touch /mark")
    save(watched, "fresh/again", "2")
    until(watched, "cat /fresh/again; ls /mark 2>/dev/null", "2")


@pytest.mark.parametrize(("flags", "kept"), [((), 0), (("--prune=false",), 1)])
def test_a_rebuild_removes_the_image_that_it_replaces(composer, flags, kept):
    composer.write({"app/code": "1"})
    composer("up", "-d")
    watch = composer.start("watch", "--no-up", *flags)
    for line in watch.stdout:
        if line == "Watch enabled\n":
            save(composer, "app/code", "2")
        if "successfully built" in line:
            break
    dangling = composer("image", "ls", "-q", "-f", "dangling=true").out.split()
    composer.interrupt(watch)
    composer("down", "-t", "0", "--rmi", "local")
    composer("image", "prune", "-f")
    assert len(dangling) == kept


def test_rules_are_warned_of(watched):
    log = (watched.folder / "log").read_text()
    assert "x-initialSync is DEPRECATED, please use the official `initial_sync` attribute" in log
    assert f"path '{watched.folder}/bound/below' also declared by a bind mount volume" in log
    assert shell(watched, "cat /data/a.txt; ls /unseen 2>&1 | wc -l") == "one1\n"


def test_up_watches_before_it_says_that_it_is_attached(composer):
    composer.write({"src/a.txt": "one", "app/code": "1"})
    up = composer.start("up", "--watch")
    for line in up.stdout:
        if line.startswith("Attaching to"):
            break
    save(composer, "src/a.txt", "two")
    until(composer, "cat /data/a.txt", "two")
    composer.interrupt(up)
    composer("down", "-t", "0", "--rmi", "local")


def test_a_failure_does_not_end_it(watched):
    dockerfile = (watched.folder / "Dockerfile").read_text()
    save(watched, "Dockerfile", "FROM scratch\nCOPY nothing /\n")
    save(watched, "app/code", "2")
    save(watched, "src/a.txt", "after")
    until(watched, "cat /data/a.txt /app/code", "after1")
    save(watched, "Dockerfile", dockerfile)
    save(watched, "app/code", "3")
    until(watched, "cat /app/code", "3")
