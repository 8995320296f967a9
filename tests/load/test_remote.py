"""Compose files of git repositories: what is fetched, what is refused, and what needs consent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from composer.load.check.host_access import wishes
from composer.load.errors import LoadError
from composer.load.project import Loaded, LoadOptions, load_tree

SOURCE = "git://elsewhere.example/stack"
HOST = """
services:
  web:
    image: busybox
    privileged: true
    pid: host
    volumes: ["/etc:/x", "./data:/data", "../out:/y"]
    secrets: [key]
secrets: {key: {file: /etc/shadow}}
"""
Git = Callable[..., None]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository in place of SOURCE, and git in it."""
    folder = tmp_path / "stack"
    folder.mkdir()

    def run(*words: str) -> None:
        who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)

    run("init", "-b", "trunk")
    (folder / "compose.yaml").write_text("services: {top: {image: one}}\n")
    (folder / "deep").mkdir()
    (folder / "deep/other.yaml").write_text("services: {other: {image: two, build: .}}\n")
    (folder / "deep/host.yaml").write_text(HOST)
    (folder / "out").symlink_to("/etc")
    run("add", "-A")
    run("commit", "-m", "one")
    run("tag", "-a", "v1", "-m", "first")
    return run


def load(tmp_path: Path, *files: str, **environ: str) -> Loaded:
    redirected = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{tmp_path}/stack.insteadOf",
        "GIT_CONFIG_VALUE_0": SOURCE,
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": f"{tmp_path}/cache",
    }
    from composer.load.read import pins

    pins._known.clear()  # as another command would find it
    return load_tree(LoadOptions(files=files, project_name="p", environ={**redirected, **environ}))


def test_a_branch_is_fetched_anew_and_a_commit_once(tmp_path: Path, git: Git) -> None:
    found = load(tmp_path, SOURCE)
    assert found.tree["services"]["top"]["image"] == "one" and found.inputs.volatile
    (tmp_path / "stack/compose.yaml").write_text("services: {top: {image: two}}\n")
    git("commit", "-am", "two")
    assert load(tmp_path, SOURCE).tree["services"]["top"]["image"] == "two"
    for ref in ("v1", "trunk"):
        assert load(tmp_path, f"{SOURCE}#{ref}").tree["services"]["top"]["image"] == {"v1": "one", "trunk": "two"}[ref]
    assert len(os.listdir(tmp_path / "cache/composer/git")) == 2


def test_directories_of_killed_load_are_removed(tmp_path: Path, git: Git) -> None:
    script = (
        "import sys; from composer.load.read import cache\n"
        "with cache.filled(sys.argv[1], 'x', None) as made: open(f'{made}/half', 'w'); print(made, flush=True); input()"
    )
    path = tmp_path / "cache/composer/git/0"
    words = [sys.executable, "-c", script, path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout
        half = killed.stdout.readline().strip()
        load(tmp_path, SOURCE)
        assert os.listdir(half) == ["half"]  # in use
        killed.kill()
    (tmp_path / "stack/compose.yaml").write_text("services: {top: {image: two}}\n")
    git("commit", "-am", "two")
    load(tmp_path, SOURCE)
    assert not os.path.exists(half) and len(os.listdir(path.parent)) == 2


def test_include_and_extends(tmp_path: Path, git: Git) -> None:
    (tmp_path / "compose.yaml").write_text(
        f"include: ['{SOURCE}#trunk:deep/other.yaml']\n"
        f"services: {{mine: {{extends: {{file: '{SOURCE}#v1', service: top}}}}}}\n"
    )
    services = load(tmp_path, f"{tmp_path}/compose.yaml").tree["services"]
    assert services["mine"]["image"] == "one"
    assert services["other"]["build"]["context"].endswith("/deep")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (f"{SOURCE}#nowhere", f"repository does not contain ref {SOURCE}#nowhere"),
        (f"{SOURCE}#trunk:../..", "points outside the repository"),
        (f"{SOURCE}#trunk:out/passwd", "points outside the repository"),
        (f"{SOURCE}#trunk:absent.yaml", "there is no file"),
        (f"{SOURCE}#--upload-pack=x", "is not the name of a branch"),
        ("https://example.org/compose.yaml", "must end in .git"),
    ],
)
def test_refused(tmp_path: Path, git: Git, source: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load(tmp_path, source)


def test_disabled(tmp_path: Path, git: Git) -> None:
    with pytest.raises(LoadError, match='disabled by "COMPOSE_EXPERIMENTAL_GIT_REMOTE"'):
        load(tmp_path, SOURCE, COMPOSE_EXPERIMENTAL_GIT_REMOTE="false")
    with pytest.raises(
        LoadError, match='COMPOSE_EXPERIMENTAL_GIT_REMOTE environment variable expects boolean value: "no"'
    ):
        load(tmp_path, SOURCE, COMPOSE_EXPERIMENTAL_GIT_REMOTE="no")


def test_host_access_of_fetched_files(tmp_path: Path, git: Git) -> None:
    found = load(tmp_path, f"{SOURCE}#trunk:deep/host.yaml")
    lines = wishes(found.tree, frozenset(found.inputs.fetched))["web"]
    words = ("is privileged", "joins the pid namespace of host", "mounts /etc (", "/out (", "reads /etc/shadow")
    assert [any(word in line for line in lines) for word in words] == [True] * 5
    assert len(lines) == 5
    (tmp_path / "mine.yaml").write_text(HOST)
    found = load(tmp_path, f"{tmp_path}/mine.yaml", SOURCE)
    assert not wishes(found.tree, frozenset(found.inputs.fetched))


def test_loading_in_a_git_hook_does_not_touch_the_hooks_repository(tmp_path: Path, git: Git) -> None:
    """Git passes a hook its repository in variables (githooks(5)), which every other git command obeys too."""
    ours = tmp_path / "ours"
    subprocess.run(["git", "init", "-q", ours], check=True)
    (ours / "compose.yaml").write_text("services: {ours: {image: mine}}\n")
    subprocess.run(["git", "-C", ours, "add", "."], check=True)
    places = {"DIR": ours / ".git", "WORK_TREE": ours, "INDEX_FILE": ours / ".git/index"}

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in ours.rglob("*") if path.is_file()}

    before = files()
    found = load(tmp_path, SOURCE, **{f"GIT_{name}": str(place) for name, place in places.items()})
    assert found.tree["services"]["top"]["image"] == "one"
    assert files() == before
