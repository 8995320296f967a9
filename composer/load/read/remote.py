"""Compose files of git repositories: `REMOTE[#REF[:FOLDER]]`, fetched by the git program into a cache by commit.

The forms are those of BuildKit: `git://…`, `ssh://…`, `git@HOST:…`, `github.com/…`, and `https://…` where the path ends in .git.
"""

from __future__ import annotations

import os
import re

from composer.load.errors import LoadError

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from composer.load.options import Inputs
    from composer.load.tree.nodes import Origin

PREFIXES = ("oci://", "git://", "ssh://", "https://", "http://", "git@", "github.com/")
SWITCH = "COMPOSE_EXPERIMENTAL_GIT_REMOTE"
TIMEOUT = 600
"""Seconds for one call of git."""
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MISSING = 2
"""Exit code of `git ls-remote --exit-code` when nothing matches (git-ls-remote(1))."""

_known: dict[str, str] = {}
"""What this process has looked up: REMOTE#REF → commit."""


def assume(commits: Mapping[str, str]) -> None:
    """Take these commits for their references (REMOTE#REF) instead of asking what they are now."""
    _known.update(commits)


def fetched(
    reference: str, environ: Mapping[str, str], names: tuple[str, ...], inputs: Inputs, origin: Origin | None
) -> str:
    """Fetch what a reference names; the path of the compose file, which in a folder has one of `names`.

    The folder of all that was fetched, and its commit, are noted in `inputs`. LoadError; also for a reference that
    `inputs.locked` does not have.
    """
    remote, ref, folder = _parsed(reference, origin)
    if environ.get(SWITCH, "") in _FALSE:
        raise LoadError(f"{reference}: git remote resource is disabled by {SWITCH!r}", origin, f"unset {SWITCH}")
    commit = _commit_of(reference, remote, ref, environ, inputs, origin)
    checkout = _checkout(reference, remote, commit, environ, origin)
    inputs.fetched.add(checkout)
    root = os.path.realpath(checkout)
    path = os.path.realpath(os.path.join(root, folder))
    if not _below(path, root):
        raise LoadError(f"{reference}: {folder!r} leads out of the repository", origin)
    if os.path.isdir(path):
        there = [name for name in names if os.path.exists(os.path.join(path, name))]
        if not there:
            raise LoadError(f"{reference}: no {', '.join(names)} in the repository's folder {folder or '/'}", origin)
        path = os.path.realpath(os.path.join(path, there[0]))
    if not _below(path, root) or not os.path.isfile(path):
        raise LoadError(f"{reference}: there is no file {folder!r} in the repository", origin)
    return path


def _commit_of(
    reference: str, remote: str, ref: str, environ: Mapping[str, str], inputs: Inputs, origin: Origin | None
) -> str:
    if _COMMIT.fullmatch(ref):
        return ref
    key = f"{remote}#{ref}" if ref else remote
    if inputs.locked is not None:
        if key not in inputs.locked:
            raise LoadError(f"{reference}: composer.lock has no entry for {key}", origin, "run `composer lock`")
        _known[key] = inputs.locked[key]
    elif key not in _known:
        _known[key] = _commit(reference, remote, ref or "HEAD", environ, origin)
    inputs.commits[key] = _known[key]
    return _known[key]


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root + os.sep)


def _parsed(reference: str, origin: Origin | None) -> tuple[str, str, str]:
    """Repository, branch or tag or commit, and the path in it."""
    remote, _, fragment = reference.partition("#")
    ref, _, folder = fragment.partition(":")
    if remote.startswith("github.com/"):
        remote = f"https://{remote}"
    if remote.startswith("oci://"):
        raise LoadError(
            f"{reference} is remote: composer does not fetch compose files from registries",
            origin,
            "fetch it yourself, and name the file",
        )
    web = remote.startswith(("https://", "http://"))
    if web and not remote.endswith(".git") and not reference.startswith("github.com/"):
        raise LoadError(f"{reference} is not a git repository", origin, "its address must end in .git")
    if ref.startswith("-"):
        raise LoadError(f"{reference}: {ref!r} is not the name of a branch, a tag or a commit", origin)
    return remote, ref, folder.lstrip("/")


def _checkout(reference: str, remote: str, commit: str, environ: Mapping[str, str], origin: Origin | None) -> str:
    """The folder with the repository's files at a commit."""
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "/"), ".cache")
    folder = os.path.join(cache, "composer", "git", commit)
    if os.path.isdir(folder):
        return folder
    import shutil
    import tempfile

    try:
        os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
        made = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(folder))
    except OSError as error:
        raise LoadError(f"cannot cache {reference} in {folder}: {error.strerror}", origin) from None
    try:
        for words in (
            ("init", "--quiet", made),
            ("-C", made, "fetch", "--quiet", "--depth=1", "--no-tags", "--", remote, commit),
            ("-C", made, "-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD"),
        ):
            done = _git(words, environ, origin)
            if done.returncode:
                raise LoadError(f"cannot fetch {reference}: {_said(done)}", origin)
        if not os.path.isdir(folder):  # another command may have been faster
            os.rename(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _commit(reference: str, remote: str, ref: str, environ: Mapping[str, str], origin: Origin | None) -> str:
    """The commit that a branch or tag names now. An annotated tag is an object of its own: `^{}` is what it names."""
    done = _git(("ls-remote", "--exit-code", "--", remote, ref, f"{ref}^{{}}"), environ, origin)
    if done.returncode == _MISSING:
        raise LoadError(f"repository does not contain ref {reference}", origin)
    if done.returncode:
        raise LoadError(f"cannot read the repository {remote}: {_said(done)}", origin)
    found = {name: commit for commit, _, name in (line.partition("\t") for line in done.stdout.splitlines())}
    for name in (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", ref):
        if name in found:
            return found[name]
    return next(iter(found.values()))


def _git(words: tuple[str, ...], environ: Mapping[str, str], origin: Origin | None) -> subprocess.CompletedProcess[str]:
    import subprocess

    safe = ("git", "-c", "protocol.ext.allow=never", "-c", "protocol.file.allow=user", *words)
    quiet = {**environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(
            safe, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT
        )
    except FileNotFoundError:
        raise LoadError("git is needed for compose files of repositories, and is not installed", origin) from None
    except subprocess.TimeoutExpired:
        raise LoadError(f"git {words[0]} did not end within {TIMEOUT} s", origin) from None


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().removeprefix("fatal: ") or f"git ended with {done.returncode}"
