"""Unpacked layers: <state>/layers/<folder>/diff, one for each chain id, shared by all images that contain it.

A layer is created in a draft directory, which is moved to its place in the transaction that records it. A directory named by a
row is therefore complete, and the collector removes directories without a row. The files of a row are on disk before an image has
the layer; if the machine goes down before that, the layer counts as absent and is made again. The parent directory is closed to
other users (mode 0700), because layers contain setuid files (CVE-2021-41091).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from engine.errors import Corrupt, NotFound, OperationFailed
from engine.filetree.inode_flags import spread
from engine.filetree.remove import remove_at
from engine.image import rubbish
from engine.image.layer import mountpoints
from engine.kernel.boot import boot_id
from engine.kernel.detached_mounts import syncfs
from engine.paths import make_private
from engine.store import Store

DRAFT = ".draft-"
_ROOT = (0, 0, 0o755)
"""Owner and mode of the root directory below the lowest layer."""
WHOLE = "unsynced IN ('', ?)"
"""Selects rows with complete files; the parameter is `boot_id()`. Those of an earlier boot may have lost some."""


class Layer(Struct, frozen=True):
    """A layer in the store; `folder` below <state>/layers, `size` in bytes unpacked, `stream` in bytes as a tar stream (0:
    unknown), `blob` see engine.store."""

    chain_id: str
    folder: str
    diff_id: str
    size: int
    blob: str = ""
    stream: int = 0


class Draft:
    """A layer that is being created: write into `diff` (open as `fd`). `work` is an empty directory for overlayfs beside it."""

    def __init__(self, path: str) -> None:
        self.path, self.name = path, os.path.basename(path)
        self.diff = f"{path}/diff"
        self.work = f"{path}/work"
        self.fd = os.open(self.diff, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._origin = _ROOT

    @property
    def root_changed(self) -> bool:
        """Whether the root directory's owner or mode has changed."""
        return _root(self.fd) != self._origin

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return self.root_changed or bool(os.listdir(self.fd))

    def inherit(self, folder: str) -> None:
        """Give the root directory the owner and mode of `folder` (…/diff). Raises OSError."""
        uid, gid, mode = _root(folder)
        os.fchown(self.fd, uid, gid)
        os.fchmod(self.fd, mode)
        self._origin = (uid, gid, mode)


class LayerStore:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.root = store.roots.layers

    def path(self, folder: str) -> str:
        return f"{self.root}/{folder}/diff"

    def get(self, chain_id: str) -> Layer | None:
        row = self.store.db.execute(
            f"SELECT chain_id, folder, diff_id, size, blob, stream FROM layers WHERE chain_id = ? AND {WHOLE}",
            (chain_id, boot_id()),
        ).fetchone()
        return Layer(*row) if row else None

    def need(self, chain_ids: Sequence[str]) -> list[Layer]:
        """The layers with these chain ids, in this order. Raises NotFound."""
        found = [self.get(chain_id) for chain_id in chain_ids]
        for chain_id, layer in zip(chain_ids, found, strict=True):
            if layer is None:
                raise NotFound("layer", chain_id, hint="Pull or build the image again.")
        return [layer for layer in found if layer]

    def root_changed(self, layer: Layer) -> bool:
        """Whether the owner or mode of a layer's root directory differs from that of the layer below it in an image, so
        that its tar stream has an entry for it."""
        below = self.store.db.execute(
            "SELECT folder FROM image_layers AS own"
            " JOIN image_layers AS other ON other.image_id = own.image_id AND other.position = own.position - 1"
            " JOIN layers ON layers.chain_id = other.chain_id WHERE own.chain_id = ? LIMIT 1",
            (layer.chain_id,),
        ).fetchone()
        return _root(self.path(layer.folder)) != (_root(self.path(below[0])) if below else _ROOT)

    @contextlib.contextmanager
    def draft(self, parent: str = "") -> Iterator[Draft]:
        """A new, empty layer, which is removed at the end of the block unless it was committed. Its root directory gets the
        owner and mode of that of the directory `parent`, because overlayfs shows the uppermost one."""
        path = f"{self.root}/{DRAFT}{os.urandom(6).hex()}"
        try:
            make_private(self.root)
            spread(self.root)
            os.mkdir(path, 0o700)
            os.mkdir(f"{path}/work", 0o700)
            os.mkdir(f"{path}/diff", 0o755)
            draft = Draft(path)
            os.fchmod(draft.fd, 0o755)
            if parent:
                draft.inherit(self.path(parent))
        except OSError as error:
            raise OperationFailed.of("create", path, error) from error
        try:
            yield draft
        finally:
            os.close(draft.fd)
            self._discard(draft.name)

    def commit(self, draft: Draft, *, chain_id: str, diff_id: str, size: int, stream: int = 0, blob: str = "") -> Layer:
        """Turn the draft into a layer. If another process was first, its layer is used and the draft is removed. Its
        files need not be on disk yet: until `sync`, the layer counts in this boot only."""
        try:
            with contextlib.suppress(FileNotFoundError):
                parent = os.open(draft.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    remove_at(parent, "work")
                finally:
                    os.close(parent)
            with self.store.transaction() as db:
                if (there := self.get(chain_id)) is not None:
                    if there.diff_id != diff_id:
                        raise Corrupt(f"layer {chain_id} is already recorded with the diff_id {there.diff_id}")
                    if blob and not there.blob:
                        db.execute("UPDATE layers SET blob = ? WHERE chain_id = ?", (blob, chain_id))
                    return there
                db.execute("DELETE FROM layers WHERE chain_id = ?", (chain_id,))  # a layer of an earlier boot
                folder = self._place(draft, chain_id)
                db.execute(
                    "INSERT INTO layers (chain_id, folder, diff_id, size, stream, blob, unsynced)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (chain_id, folder, diff_id, size, stream, blob, boot_id()),
                )
        except OSError as error:
            raise OperationFailed.of("store layer", chain_id, error) from error
        return Layer(chain_id, folder, diff_id, size, blob, stream)

    def sync(self) -> None:
        """Write all layers and their blobs to disk, with one syncfs(2) for any number of them."""
        rows = self.store.db.execute("SELECT chain_id FROM layers WHERE unsynced = ?", (boot_id(),)).fetchall()
        if not rows:
            return
        try:
            for folder in _file_systems(self.root, self.store.roots.blobs):
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    syncfs(fd)
                finally:
                    os.close(fd)
        except OSError as error:
            raise OperationFailed.of("synchronise", self.root, error) from error
        with self.store.transaction() as db:
            db.executemany("UPDATE layers SET unsynced = '' WHERE chain_id = ?", rows)

    def set_blobs(self, digests: Mapping[str, str]) -> None:
        """Record that the blob store has these layers, compressed: chain id → digest."""
        if digests:
            with self.store.transaction() as db:
                pairs = [(digest, chain_id) for chain_id, digest in digests.items()]
                db.executemany("UPDATE layers SET blob = ? WHERE chain_id = ?", pairs)

    def _place(self, draft: Draft, chain_id: str) -> str:
        """Move the draft to its final name, which is short because the length of overlayfs's mount options is limited."""
        hexdigits = chain_id.removeprefix("sha256:")
        for length in range(12, 65, 4):
            folder = hexdigits[:length]
            if not os.path.lexists(f"{self.root}/{folder}"):
                os.rename(draft.path, f"{self.root}/{folder}")
                return folder
        raise FileExistsError(17, "a directory with that name already exists", f"{self.root}/{hexdigits}")

    def discard(self, folder: str, *, later: bool = False) -> None:
        """Remove a directory without a row, or make it rubbish (engine.image.rubbish). Raises OperationFailed."""
        try:
            if later:
                rubbish.put(self.root, folder)
            else:
                self._discard(folder)
        except OSError as error:
            raise OperationFailed.of("remove", f"{self.root}/{folder}", error) from error

    def _discard(self, folder: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                remove_at(root, folder)
            finally:
                os.close(root)

    def names(self) -> list[str]:
        """All names in the directory that may belong to layers, including drafts."""
        try:
            return [name for name in os.listdir(self.root) if name != mountpoints.NAME]
        except FileNotFoundError:
            return []


def _root(folder: int | str) -> tuple[int, int, int]:
    status = os.stat(folder)
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


def _file_systems(*folders: str) -> Iterable[str]:
    """One of the directories for each file system; those that do not exist are skipped."""
    found: dict[int, str] = {}
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            found.setdefault(os.stat(folder).st_dev, folder)
    return found.values()
