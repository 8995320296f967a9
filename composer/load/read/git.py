"""Compose files in Git repositories: `REMOTE[#REF[:FOLDER]]`. git fetches them into a cache, one folder per commit. The
forms are BuildKit's: `git://…`, `ssh://…`, `git@HOST:…`, `github.com/…`, and `https://…` with a path that ends in .git.
"""

from __future__ import annotations

import os
import re

from composer.load.errors import LoadError
from composer.load.read import cache, pins
from engine.vocabulary import COMMIT

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from composer.load.options import Inputs
    from composer.load.tree.nodes import Origin

PREFIXES = ("git://", "ssh://", "https://", "http://", "git@", "github.com/")
SWITCH = "COMPOSE_EXPERIMENTAL_GIT_REMOTE"
TIMEOUT = 600
"""Time limit of one git command, in seconds."""
_COMMIT = re.compile(COMMIT)
_MISSING = 2
"""Exit code of `git ls-remote --exit-code` when nothing matches (git-ls-remote(1))."""


def checkout(reference: str, environ: Mapping[str, str], inputs: Inputs, origin: Origin | None) -> tuple[str, str]:
    """The folder with the repository's files at the referenced commit, and the path below it in the reference. Raises
    LoadError."""
    remote, ref, path = _parsed(reference, origin)
    commit = ref
    if not _COMMIT.fullmatch(ref):
        key = f"{remote}#{ref}" if ref else remote
        commit = pins.resolved(
            reference, key, inputs, origin, lambda: _commit(reference, remote, ref or "HEAD", environ, origin)
        )
    folder = cache.folder(environ, "git", commit)
    if not os.path.isdir(folder):
        with cache.filled(folder, reference, origin) as made:
            _fetch(made, reference, remote, commit, environ, origin)
    return folder, path


def _parsed(reference: str, origin: Origin | None) -> tuple[str, str, str]:
    """Repository, ref (branch, tag or commit), and path."""
    remote, _, fragment = reference.partition("#")
    ref, _, folder = fragment.partition(":")
    if remote.startswith("github.com/"):
        remote = f"https://{remote}"
    web = remote.startswith(("https://", "http://"))
    if web and not remote.endswith(".git") and not reference.startswith("github.com/"):
        raise LoadError(f"{reference} is not a git repository", origin, "its address must end in .git")
    if ref.startswith("-"):
        raise LoadError(f"{reference}: {ref!r} is not the name of a branch, a tag or a commit", origin)
    return remote, ref, folder.lstrip("/")


def _fetch(
    folder: str, reference: str, remote: str, commit: str, environ: Mapping[str, str], origin: Origin | None
) -> None:
    for words in (
        ("init", "--quiet", folder),
        ("-C", folder, "fetch", "--quiet", "--depth=1", "--no-tags", "--", remote, commit),
        ("-C", folder, "-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD"),
    ):
        done = _git(words, environ, origin)
        if done.returncode:
            raise LoadError(f"cannot fetch {reference}: {_last_line(done)}", origin)


def _commit(reference: str, remote: str, ref: str, environ: Mapping[str, str], origin: Origin | None) -> str:
    """The commit that a branch or tag names now. For an annotated tag, `^{}` is the commit behind the tag object."""
    done = _git(("ls-remote", "--exit-code", "--", remote, ref, f"{ref}^{{}}"), environ, origin)
    if done.returncode == _MISSING:
        raise LoadError(f"repository does not contain ref {reference}", origin)
    if done.returncode:
        raise LoadError(f"cannot read the repository {remote}: {_last_line(done)}", origin)
    found = {name: commit for commit, _, name in (line.partition("\t") for line in done.stdout.splitlines())}
    for name in (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", ref):
        if name in found:
            return found[name]
    return next(iter(found.values()))


def _git(words: tuple[str, ...], environ: Mapping[str, str], origin: Origin | None) -> subprocess.CompletedProcess[str]:
    import subprocess

    from engine.git_environment import without_repository  # most projects have no remote files

    safe = ("git", "-c", "protocol.ext.allow=never", "-c", "protocol.file.allow=user", *words)
    try:
        return subprocess.run(
            safe,
            env=without_repository(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
        )
    except FileNotFoundError:
        raise LoadError(
            "reading compose files from Git repositories requires git, which is not installed", origin
        ) from None
    except subprocess.TimeoutExpired:
        raise LoadError(f"git {words[0]} did not finish within {TIMEOUT} s", origin) from None


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().removeprefix("fatal: ") or f"git exited with {done.returncode}"
