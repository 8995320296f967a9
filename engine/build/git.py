"""Git repositories as sources of ADD and as build contexts, by git(1).

<remote>[#<branch, tag, commit>[:<folder>]]   with ?branch= tag= ref= commit= subdir= keep-git-dir= submodules= instead
"""

from __future__ import annotations

import os
import re
import secrets

from msgspec import Struct, structs

from engine import vocabulary
from engine.build.sources import Sources
from engine.errors import BuildFailed, Unsupported
from engine.filetree.remove import remove
from engine.git_environment import without_repository

_GIT = re.compile(r"git://|ssh://|[\w.-]+@[\w.-]+:|https?://[^?#\s]+\.git/?(?:[?#]|\Z)", re.IGNORECASE)
_KEYS = ("ref", "branch", "tag", "commit", "checksum", "subdir", "keep-git-dir", "submodules")
_TRUE = ("", "1", "true")
COMMIT = re.compile(vocabulary.COMMIT)


class Repository(Struct, frozen=True):
    """The parts of a reference. `ref` "" is the remote's HEAD, `subdir` "" the whole repository; `commit` is the
    required commit."""

    remote: str
    ref: str = ""
    subdir: str = ""
    commit: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True

    @property
    def key(self) -> str:
        """How composer.lock names it."""
        return f"{self.remote}#{self.ref}" if self.ref else self.remote


def is_git(text: str) -> bool:
    """Whether the text names a repository rather than a file or a download."""
    return bool(_GIT.match(text))


def parse(text: str) -> Repository:
    """Raises BuildFailed for an unknown query."""
    remote, _, fragment = text.partition("#")
    remote, _, query = remote.partition("?")
    ref, _, subdir = fragment.partition(":")
    found = Repository(remote, ref, subdir.strip("/"))
    from urllib.parse import parse_qsl

    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            raise BuildFailed(f"{text}: unknown query {key!r}: {', '.join(_KEYS)}")
        if key in ("ref", "branch", "tag"):
            found = structs.replace(found, ref=value)
        elif key in ("commit", "checksum"):
            found = structs.replace(found, commit=value)
        elif key == "subdir":
            found = structs.replace(found, subdir=value.strip("/"))
        elif key == "keep-git-dir":
            found = structs.replace(found, keep_git_dir=value.lower() in _TRUE)
        else:
            found = structs.replace(found, submodules=value.lower() in _TRUE)
    return found


def pinned(text: str, sources: Sources) -> Repository:
    """The repository that the text names, at the commit of the lock in a build that is locked. Raises BuildFailed."""
    found = parse(text)
    if found.commit or COMMIT.fullmatch(found.ref) or not (commit := sources.pin(found.key)):
        return found
    return structs.replace(found, ref=commit, commit=commit)


def commit_of(repository: Repository) -> str:
    """The commit that the reference names now; of an annotated tag the commit it is for (git-ls-remote(1)).

    Raises BuildFailed when the repository does not have it."""
    ref = repository.ref or "HEAD"
    listed = _git(repository, ".", "ls-remote", "--", repository.remote, ref, f"{ref}^{{}}")
    found = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    for name in (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", ref):
        if name in found:
            return found[name]
    raise BuildFailed(f"{repository.remote}: there is no branch, tag or commit {ref}")


def clone(repository: Repository, sources: Sources, *, keep_git_dir: bool = False) -> str:
    """A folder with the repository's files, removed at the build's end.

    Raises BuildFailed when fetching fails or gives a different commit than requested, Unsupported without git(1).
    """
    import shutil

    if not shutil.which("git"):
        raise Unsupported(
            f"{repository.remote}: fetching a Git repository requires git", hint="Install git, or clone it first."
        )
    if any(part.startswith("-") for part in (repository.remote, repository.ref, repository.commit)):
        raise BuildFailed(f"{repository.remote}: a repository, ref or commit must not start with -")
    path = f"{sources.temporary}/git-{secrets.token_hex(8)}"
    _git(repository, ".", "init", "--quiet", "--initial-branch=main", path)
    _git(repository, path, "remote", "add", "origin", repository.remote)
    wanted = repository.ref or repository.commit or "HEAD"
    if not _fetched(repository, path, wanted):
        # A server may refuse to send a commit by its hash; then we fetch all branches and tags.
        _git(repository, path, "fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*")
        try:
            branches = _git(repository, path, "for-each-ref", "--format=%(refname)", f"refs/remotes/origin/{wanted}")
            _git(repository, path, "checkout", "--quiet", "--detach", f"{branches.strip() or wanted}^{{commit}}")
        except BuildFailed as error:
            raise BuildFailed(f"{repository.remote}: there is no branch, tag or commit {wanted}") from error
    found = _git(repository, path, "rev-parse", "HEAD").strip()
    if repository.commit and not found.startswith(repository.commit.removeprefix("sha1:")):
        raise BuildFailed(f"{repository.remote}: expected commit {repository.commit}, but {wanted} is {found}")
    sources.materials[repository.key] = {"sha1" if len(found) == 40 else "sha256": found}
    if repository.submodules and os.path.exists(f"{path}/.gitmodules"):
        _git(repository, path, "submodule", "update", "--quiet", "--init", "--recursive", "--depth=1")
    if not (keep_git_dir if repository.keep_git_dir is None else repository.keep_git_dir):
        for folder, names, files in os.walk(path):
            if ".git" in (*names, *files):
                remove(f"{folder}/.git")
                names[:] = [name for name in names if name != ".git"]
    return path


def _fetched(repository: Repository, path: str, wanted: str) -> bool:
    try:
        _git(repository, path, "fetch", "--quiet", "--depth=1", "origin", wanted)
    except BuildFailed:
        return False
    _git(repository, path, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    return True


def _git(repository: Repository, folder: str, *args: str) -> str:
    environ = {**without_repository(os.environ), "LC_ALL": "C"}
    import subprocess

    done = subprocess.run(
        ["git", "-c", "advice.detachedHead=false", "-c", "core.autocrlf=false", "-C", folder, *args],
        env=environ,
        umask=0o022,  # the modes of files are part of the image
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BuildFailed(f"git {args[0]} of {repository.remote}: {lines[-1]}")
    return done.stdout
