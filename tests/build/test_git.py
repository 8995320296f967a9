import os
import shutil
import subprocess

import pytest

from engine.build.git import Repository, is_git, parse
from engine.errors import BuildFailed

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/x.git", Repository("https://h/x.git")),
        ("git@h:a/b.git#v1:sub/", Repository("git@h:a/b.git", "v1", "sub")),
        ("https://h/x.git?branch=b&subdir=d", Repository("https://h/x.git", "b", "d")),
        ("ssh://h/x?commit=abc&keep-git-dir", Repository("ssh://h/x", commit="abc", keep_git_dir=True)),
        ("git://h/x?submodules=false", Repository("git://h/x", submodules=False)),
    ],
)
def test_references(text, expected):
    assert is_git(text)
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["https://h/x.tar", "https://h/x.git/file", "dir/x.git", "./a", "x"])
def test_urls_that_are_not_repositories(text):
    assert not is_git(text)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A bare repository whose address git is configured to find here."""
    work, bare = tmp_path / "work", tmp_path / "bare.git"
    work.mkdir()

    def git(*args):
        done = subprocess.run(
            ["git", "-C", work, "-c", "user.name=x", "-c", "user.email=x@x", *args],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    (work / "sub").mkdir()
    (work / "sub/Dockerfile").write_text("FROM base\nCOPY f /f\n")
    (work / "sub/f").write_text("one")
    git("add", ".")
    git("commit", "-qm", "one")
    first = git("rev-parse", "HEAD")
    git("tag", "v1")
    (work / "sub/f").write_text("two")
    git("commit", "-qam", "two")
    subprocess.run(["git", "clone", "-q", "--bare", work, bare], check=True)
    for name, value in {
        "COUNT": "1",
        "KEY_0": f"url.{bare}.insteadOf",
        "VALUE_0": "https://here.invalid/r.git",
    }.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    return first


def test_add(builder, base, repository, images):
    url = "https://here.invalid/r.git"
    record = builder(
        f"FROM base\nADD {url} /new/\nADD {url}#v1:sub /old\nADD --keep-git-dir=true --chown=5 {url}?commit={repository} /kept\n"
    )
    tree = builder.tree(record)
    assert (tree["new/sub/f"], tree["old/f"], tree["kept/sub/f"]) == ("two", "one", "one")
    assert ("new/.git" in tree, "kept/.git/HEAD" in tree) == (False, True)
    assert builder.stat(record, "kept/sub/f").st_uid == 5
    assert [name for name in os.listdir(f"{images.store.roots.cache}/build") if name.startswith(".git")] == []
    builder(f"FROM base\nADD {url} /new/")
    assert builder.cached == 1


def test_the_umask_and_line_ends_of_the_user_do_not_matter(builder, base, repository, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    monkeypatch.setenv("GIT_CONFIG_KEY_1", "core.autocrlf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_1", "true")
    before = os.umask(0o077)
    try:
        record = builder("FROM base\nADD https://here.invalid/r.git /new/\n")
    finally:
        os.umask(before)
    modes = [builder.stat(record, f"new/{name}").st_mode & 0o777 for name in ("sub", "sub/f")]
    assert modes == [0o755, 0o644]
    assert builder.tree(record)["new/sub/Dockerfile"] == "FROM base\nCOPY f /f\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ADD https://here.invalid/r.git#nope /x", "there is no branch, tag or commit nope"),
        ("ADD --checksum=0123456789 https://here.invalid/r.git#v1 /x", "expected commit 0123456789, but v1 is"),
        ("ADD https://here.invalid/r.git#v1:gone /x", '"/gone": not found'),
        ("ADD --checksum=0123456789 https://here.invalid/r.git /x", "there is no branch, tag or commit 0123456789"),
        ("ADD https://here.invalid/r.git#--upload-pack=x /x", "a repository, ref or commit must not start"),
        ("ADD https://here.invalid/r.git?commit=--upload-pack=x /x", "a repository, ref or commit must not start"),
        ("ADD https://here.invalid/r.git?colour=red /x", "unknown query 'colour'"),
        ("COPY https://here.invalid/r.git /x", "cannot be remote"),
    ],
)
def test_unreachable_repository(builder, base, repository, text, message):
    with pytest.raises(BuildFailed, match=message):
        builder(f"FROM base\n{text}")


def test_a_repository_as_context(builder, base, repository):
    record = builder("", dockerfile_inline=None, context="https://here.invalid/r.git#v1:sub")
    assert builder.tree(record)["f"] == "one"
    with pytest.raises(BuildFailed, match="there is no directory gone"):
        builder("", dockerfile_inline=None, context="https://here.invalid/r.git#v1:gone")


def test_build_in_a_git_hook_does_not_touch_the_hooks_repository(builder, base, repository, tmp_path, monkeypatch):
    """Git passes a hook its repository in variables (githooks(5)), which every other git command obeys too."""
    git = tmp_path / "work/.git"
    for name, place in {"DIR": git, "INDEX_FILE": git / "index", "OBJECT_DIRECTORY": git / "objects"}.items():
        monkeypatch.setenv(f"GIT_{name}", str(place))
    before = {path: path.read_bytes() for path in git.rglob("*") if path.is_file()}
    record = builder("FROM base\nADD https://here.invalid/r.git#v1:sub /new/\n")
    assert builder.tree(record)["new/f"] == "one"
    assert {path: path.read_bytes() for path in git.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("below", ["..", "up", "../../../../../../../../etc"])
def test_a_folder_of_a_repository_is_in_it(builder, base, repository, tmp_path, below):
    work = tmp_path / "work"
    (work / "up").symlink_to("/etc")
    for words in (["add", "."], ["commit", "-qm", "links"], ["push", "-q", tmp_path / "bare.git", "main"]):
        subprocess.run(["git", "-C", work, "-c", "user.name=x", "-c", "user.email=x@x", *words], check=True)
    with pytest.raises(BuildFailed, match="there is no directory"):
        builder("", dockerfile_inline="FROM base\nCOPY . /\n", context=f"https://here.invalid/r.git#main:{below}")
    try:
        record = builder(f"FROM base\nADD https://here.invalid/r.git#main:{below} /new/\n")
    except BuildFailed:
        return
    new = {name for name in builder.tree(record) if name.startswith("new")}
    assert new <= {"new", "new/up", "new/sub", "new/sub/f", "new/sub/Dockerfile"}
