"""COPY and ADD: from an instruction to what it copies, its cache key, and the copying."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from engine.build import git, remote
from engine.build import instructions as ins
from engine.build.archive import holds_tar
from engine.build.cache import key_of
from engine.build.context import Match, SourceTree
from engine.build.copying import How, Target
from engine.build.metadata import working_dir
from engine.build.mode import Mode
from engine.build.progress import Step
from engine.build.task import Task
from engine.build.words import expand, expand_heredoc
from engine.errors import BuildFailed
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
        self.texts = run.expand_all(instruction.sources)
        self.written_target = run.expand(instruction.target)
        self.target = _destination(run, self.written_target)
        self.chown = run.expand(instruction.chown)
        self.mode = Mode.parse(chmod) if (chmod := run.expand(instruction.chmod)) else None
        self.parents = instruction.parents
        self.exclude = Ignore(instruction.exclude, "--exclude", file=False)
        self.unpack, self.keep_git_dir = instruction.unpack, instruction.keep_git_dir
        self.checksum = run.expand(instruction.checksum)
        if self.checksum and not (len(self.texts) == 1 and remote.is_remote(self.texts[0])):
            raise BuildFailed("--checksum needs exactly one source, from http, https or Git")
        self.files = [
            ins.InlineFile(
                file.name, expand_heredoc(file.content, run.state.values) if file.expand else file.content, False
            )
            for file in instruction.files
        ]
        self.sources = [self._source(run, text, instruction.from_) for text in self.texts]

    def _source(self, run: StageRun, text: str, origin: str) -> Local | remote.Download:
        if not remote.is_remote(text):
            tree = run.tree(_plain(origin), numbers=True)
            found = tree.match_parents(text, self.exclude) if self.parents else tree.match(text, self.exclude)
            return Local(tree, found)
        if not self.add:
            raise BuildFailed(f"the source of a COPY cannot be remote: {text}", hint="Use ADD.")
        if git.is_git(text):
            return self._repository(run, text)
        return remote.fetch(text, self.checksum, run.build.sources)

    def _repository(self, run: StageRun, text: str) -> Local:
        found = git.pinned(text, run.build.sources)
        if self.keep_git_dir is not None and found.keep_git_dir not in (None, self.keep_git_dir):
            raise BuildFailed(f"--keep-git-dir and {text} contradict each other")
        if self.checksum and found.commit not in ("", self.checksum):
            raise BuildFailed(f"--checksum={self.checksum} and {text} name different commits")
        found = structs.replace(found, commit=self.checksum or found.commit)
        folder = git.clone(found, run.build.sources, keep_git_dir=bool(self.keep_git_dir))
        tree = run.build.sources.plain_directory(folder, text)
        return Local(tree, [tree.find(found.subdir)])

    def history(self) -> str:
        """The line of history: the flags that decide about owners and modes, the sources and the destination."""
        words = [self.name]
        if self.parents:
            words.append("--parents")
        if self.chown:
            words.append(f"--chown={self.chown}")
        if self.mode:
            words.append(f"--chmod={self.mode.text}")
        return " ".join([*words, *self.texts, *(f"<<{file.name}" for file in self.files), self.written_target,
                         "# buildkit"])  # fmt: skip


class Local(Struct, frozen=True):
    """One source in a tree, and what it matched."""

    tree: SourceTree
    matches: list[Match]

    @property
    def digest(self) -> str:
        return self.tree.digest(self.matches)


def _plain(name: str) -> str:
    """The name in --from, which is resolved before the stage's variables are known."""
    if name and expand(name, {}) != name:
        raise BuildFailed(
            f"--from={name} cannot have a variable", hint="Name a stage for it: FROM $NAME AS x, before the first FROM."
        )
    return name


def _destination(run: StageRun, target: str) -> str:
    """The absolute path, with a final slash or `/.` for a directory; "" and "." are the working directory."""
    directory = target in ("", ".") or target.endswith(("/", "/."))
    return working_dir(run.state.config, target).rstrip("/") + ("/" if directory else "") or "/"


def prepare(run: StageRun, instruction: ins.Copy) -> Task:
    """The step for a COPY or ADD. Raises BuildFailed when a source does not exist."""
    copy = _Copy(run, instruction)
    key = key_of(
        copy.name,
        run.state.top,
        copy.target,
        [source.digest if isinstance(source, Local) else (source.name, source.digest) for source in copy.sources],
        [(file.name, file.content) for file in copy.files],
        copy.chown,
        copy.mode.text if copy.mode else "",
        copy.unpack,
    )

    def make(draft: Draft, step: Step) -> None:
        with run.root(draft) as root:
            ids = run.owner(copy.chown, root, step) if copy.chown else None
            _write(copy, root, ids)

    return Task(key, copy.history(), make)


def _write(copy: _Copy, root: Tree, ids: tuple[int, int] | None) -> None:
    how = How(owner=ids, mode=copy.mode)
    for source in copy.sources:
        if isinstance(source, remote.Download):
            _write_download(copy, source, Target(root, copy.target, how), root, ids)
            continue
        for match in source.matches:
            if not (copy.unpack if copy.unpack is not None else copy.add) or not _extract(
                copy, source.tree, match, root, ids
            ):
                Target(root, copy.target, how).copy(source.tree, match)
    for file in copy.files:
        content = file.content.encode("utf-8", "surrogateescape")
        Target(root, copy.target, how).write(file.name, content, stat.S_IFREG | 0o644)


def _extract(copy: _Copy, tree: SourceTree, match: Match, root: Tree, ids: tuple[int, int] | None) -> bool:
    """ADD unpacks a local tar archive, compressed or not, into the destination; False if it is not an archive."""
    if not stat.S_ISREG(match.items[0].status.st_mode):
        return False
    return _unpack(tree.open(match.items[0]), match.name, copy.target, root, ids)


def _unpack(fd: int, name: str, target: str, root: Tree, ids: tuple[int, int] | None) -> bool:
    """Unpack, and close the descriptor."""
    with os.fdopen(fd, "rb") as file:
        if not holds_tar(fd):
            return False
        file.seek(0)
        destination = Target(root, target, How(owner=ids))
        destination.directory()
        place = destination.path
        hashed = Hashed(compression.chunks(file, name))
        unpack(iter(hashed), root.root, name, below=place, layer=False, owner=ids)
    return True


def _write_download(
    copy: _Copy, download: remote.Download, target: Target, root: Tree, ids: tuple[int, int] | None
) -> None:
    if copy.unpack and _unpack(
        os.open(download.path, os.O_RDONLY | os.O_CLOEXEC), download.name, copy.target, root, ids
    ):
        return
    fd = os.open(download.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target.adopt(download.name, fd, stat.S_IFREG | 0o600, download.mtime)
    finally:
        os.close(fd)


def make_directory(run: StageRun, root: Tree, path: str, user: str, step: Step) -> None:
    """Create the directory of WORKDIR, owned by the stage's user, if it does not exist."""
    try:
        os.close(root.open(path.strip("/"), os.O_PATH | os.O_DIRECTORY))
    except FileNotFoundError:
        Target(root, path + "/", How(owner=run.owner(user, root, step) if user else None)).directory()
    except NotADirectoryError:
        raise BuildFailed(f"WORKDIR {path} is not a directory in the image") from None
