"""COPY and ADD: from an instruction to what it copies, its cache key, and the copying."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from engine.build import instructions as ins
from engine.build import owner, remote
from engine.build.cache import key_of
from engine.build.context import Match
from engine.build.copying import How, Target
from engine.build.metadata import working_dir
from engine.build.mode import Mode
from engine.build.progress import Step
from engine.build.task import Task
from engine.build.words import expand_heredoc
from engine.errors import BuildFailed, Unsupported
from engine.ignore import Ignore
from engine.image.layer import compression
from engine.image.layer.pipeline import Hashed
from engine.image.layer.unpack import unpack
from engine.image.layers import Draft
from engine.image.tree import Tree

if TYPE_CHECKING:
    from engine.build.stage import StageRun


class _Copy:
    """One COPY or ADD with its variables expanded."""

    def __init__(self, run: StageRun, instruction: ins.Copy) -> None:
        self.add = instruction.add
        self.name = "ADD" if instruction.add else "COPY"
        texts = run.expand_all(instruction.sources)
        if any(remote.is_git(text) for text in texts) and self.add:
            raise Unsupported(
                "ADD from a Git repository is not supported", hint="Clone it and COPY it from the context."
            )
        self.urls = [text for text in texts if self.add and remote.is_url(text)]
        self.patterns = [text for text in texts if text not in self.urls]
        target = run.expand(instruction.target)
        absolute = working_dir(run.state.config, target) if target else ""
        if not absolute:
            raise BuildFailed(f"{self.name}: the destination is empty after expansion")
        # A relative destination is below WORKDIR; what says "directory" must not get lost.
        self.target = absolute.rstrip("/") + "/" if target.endswith(("/", "/.")) or target == "." else absolute
        self.chown = run.expand(instruction.chown)
        self.mode = Mode.parse(chmod) if (chmod := run.expand(instruction.chmod)) else None
        self.parents = instruction.parents
        self.exclude = Ignore(run.expand_all(instruction.exclude), "--exclude")
        self.checksum, self.unpack = instruction.checksum, instruction.unpack
        if self.checksum and (len(self.urls) != 1 or self.patterns):
            raise BuildFailed("checksum can only be specified for one remote source")
        values = run.values()
        self.files = [
            ins.InlineFile(
                file.name,
                expand_heredoc(file.content, values, run.source.escape) if file.expand else file.content,
                False,
            )
            for file in instruction.files
        ]
        self.source = run.tree(run.expand(instruction.from_)) if self.patterns else None
        self.matches: list[Match] = []
        if self.source:
            self.matches = [match for pattern in self.patterns for match in self.source.match(pattern, self.exclude)]
        if len(self.matches) + len(self.urls) + len(self.files) > 1 and not self.target.endswith("/"):
            raise BuildFailed(
                f"when using {self.name} with more than one source file, the destination must be a directory"
                " and end with a /"
            )


def prepare(run: StageRun, instruction: ins.Copy) -> Task:
    """The step for a COPY or ADD. Raises BuildFailed when a source does not exist."""
    copy = _Copy(run, instruction)
    downloads = [remote.fetch(url, copy.checksum, run.build.sources) for url in copy.urls]
    key = key_of(
        copy.name,
        run.state.top,
        copy.target,
        [match.name.rpartition("/")[2] if not copy.parents else match.name for match in copy.matches],
        copy.source.digest(copy.matches) if copy.source else "",
        [(file.name, file.content) for file in copy.files],
        [(download.name, download.digest) for download in downloads],
        copy.chown,
        copy.mode.text if copy.mode else "",
        copy.parents,
        copy.unpack,
    )

    def make(draft: Draft, step: Step) -> None:
        with run.root(draft) as root:
            _write(copy, downloads, root)

    return Task(key, instruction.text, make)


def _write(copy: _Copy, downloads: list[remote.Download], root: Tree) -> None:
    ids = owner.resolve(copy.chown, root) if copy.chown else None
    how = How(owner=ids, mode=copy.mode, parents=copy.parents)
    target = Target(root, copy.target, how)
    if copy.source:
        plain = [match for match in copy.matches if not (copy.add and _extract(copy, match, root, ids))]
        if plain:
            target.copy(copy.source, plain)
    for file in copy.files:
        target.write(file.name, file.content.encode("utf-8", "surrogateescape"), stat.S_IFREG | 0o644)
    for download in downloads:
        _write_download(copy, download, target, root, ids)


def _extract(copy: _Copy, match: Match, root: Tree, ids: tuple[int, int] | None) -> bool:
    """ADD unpacks a local tar archive, compressed or not, into the destination; False when it is none."""
    assert copy.source
    if copy.unpack is False or not stat.S_ISREG(match.items[0].status.st_mode):
        return False
    fd = copy.source.open(match.items[0])
    return _unpack(fd, match.name, copy.target, root, ids)


def _unpack(fd: int, name: str, target: str, root: Tree, ids: tuple[int, int] | None) -> bool:
    """Takes the descriptor over."""
    with os.fdopen(fd, "rb") as file:
        if not _is_archive(fd):
            return False
        file.seek(0)
        place = target.strip("/")
        Target(root, target, How(owner=ids)).directory()
        hashed = Hashed(compression.chunks(file, name))
        unpack(iter(hashed), root.root, name, below=place, layer=False, owner=ids)
    return True


def _is_archive(fd: int) -> bool:
    """Whether the file, uncompressed, begins with a tar header."""
    with os.fdopen(os.dup(fd), "rb") as file:
        head = file.read(512)
        if not compression.detect(head):
            return compression.is_tar(head)
        file.seek(0)
        try:
            return compression.is_tar(next(compression.chunks(file, "archive"), b""))
        except Exception:  # damaged or of an unknown compression: then it is a file like any other
            return False


def _write_download(
    copy: _Copy, download: remote.Download, target: Target, root: Tree, ids: tuple[int, int] | None
) -> None:
    if copy.unpack and _unpack(
        os.open(download.path, os.O_RDONLY | os.O_CLOEXEC), download.name, copy.target, root, ids
    ):
        return
    if not download.name and target.wants_directory:
        raise BuildFailed(f"ADD: cannot tell a file name from the URL {download.url}")
    fd = os.open(download.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target.adopt(download.name, fd, stat.S_IFREG | 0o600, download.mtime)
    finally:
        os.close(fd)


def make_directory(root: Tree, path: str, user: str) -> None:
    """WORKDIR's directory, owned by the stage's user when it had to be made."""
    try:
        os.close(root.open(path.strip("/"), os.O_PATH | os.O_DIRECTORY))
    except FileNotFoundError:
        Target(root, path + "/", How(owner=owner.resolve(user, root) if user else None)).directory()
    except NotADirectoryError:
        raise BuildFailed(f"WORKDIR {path} is not a directory in the image") from None
