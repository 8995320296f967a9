"""Resolving the names in FROM, COPY --from and RUN --mount=from: a stage, a named context, or an image."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Sequence

from engine import temporary_directory
from engine.bounded_read import MIB, read_bytes
from engine.build import view
from engine.build.context import SourceTree
from engine.build.digests import Digests
from engine.errors import BadReference, BuildFailed, OperationFailed, Unsupported
from engine.ignore import Ignore
from engine.image import reference as references
from engine.image.images import ImageStore
from engine.image.merged import merged
from engine.paths import make_private
from engine.spec.image import BuildSpec, ImageRecord, for_platform
from engine.trust import gate

Pull = Callable[[str, str], ImageRecord]
"""Fetches an image from its registry into the store: its name, and a platform or ""."""

_REMOTE = re.compile(r"(?:https?|git|ssh|oci-layout)://|git@|github\.com/")
IMAGE_SCHEME = "docker-image://"


class Sources:
    """The trees of one build; `stack` closes them at its end."""

    def __init__(self, spec: BuildSpec, images: ImageStore, stack: contextlib.ExitStack, pull: Pull | None) -> None:
        self.spec, self.images = spec, images
        self._pulled: set[str] = set()
        self._pulled_lock = threading.Lock()
        self._stack, self._pull = stack, pull
        self._trees: dict[str, SourceTree] = {}
        self._ignore: Ignore | None = None
        self._temporary = ""
        self.materials: dict[str, dict[str, str]] = {}
        """What the build used from elsewhere: URI → digests by algorithm (SLSA, ResourceDescriptor)."""
        self.remote = ""
        """The URI of a remote build context."""

    def fork(self, images: ImageStore, stack: contextlib.ExitStack) -> Sources:
        """The same sources for another thread; pulled images are known to all."""
        other = Sources(self.spec, images, stack, self._pull)
        other._pulled, other._pulled_lock = self._pulled, self._pulled_lock
        other.materials, other.remote = self.materials, self.remote
        return other

    def at_end(self, action: Callable[[], object]) -> None:
        """Call this when the build ends, for whatever reason."""
        self._stack.callback(action)

    def context(self) -> SourceTree:
        """The build context."""
        return self._directory("", self.spec.context, "the build context")

    def named(self, name: str) -> str:
        """The entry of additional_contexts for `name`: a path or docker-image://…; "" when there is none. An image's short and
        full name are equal here; a name that no image can have is none, as with BuildKit."""
        contexts = self.spec.additional_contexts
        try:
            wanted = references.parse(name).familiar.removesuffix(":latest") if contexts else ""
        except BadReference:
            return ""
        if name in contexts:
            return contexts[name]
        return next((value for key, value in contexts.items() if _familiar(key) == wanted), "")

    def named_directory(self, name: str) -> SourceTree:
        return self._directory(f"context {name}", self.named(name), f"the context {name}")

    def plain_directory(self, path: str, title: str) -> SourceTree:
        """A directory of the build itself, without ignored files; its files belong to root."""
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._stack.callback(os.close, root)
        return self._keep(SourceTree(root, title, owned=False, identity=path))

    def stage(self, chain: Sequence[str], title: str) -> SourceTree:
        """The root that the layers form."""
        key = f"chain {chain[-1] if chain else ''}"
        if key not in self._trees:
            folders = [self.images.layers.path(layer.folder) for layer in self.images.layers.need(chain)]
            root = self._stack.enter_context(merged(folders or [self.empty()]))
            self._trees[key] = self._keep(
                SourceTree(root, title, identity=chain[-1] if chain else "", layers=lambda tree: tuple(folders))
            )
        return self._trees[key]

    def image(self, name: str, platform: str = "") -> ImageRecord:
        """The image `name`, pulled if it is missing (or once per build with `pull: true`), for `platform`, by default this
        machine's. Raises BuildFailed when the build is locked and `name` is not among its pins."""
        name = self._pinned(name)
        with self._pulled_lock:
            # An id names what is in the store; there is nothing newer to fetch.
            full = for_platform(name, platform)
            wanted = self.spec.pull and full not in self._pulled and not name.startswith("sha256:")
            found = None if wanted and self._pull else self.images.get(full)
            if found is None and self._pull:
                found = self._pull(name, platform)
                self._pulled.add(full)
            found = found or self.images.need(full)
        gate.admit(self.images, full)
        self._note_image(name, found)
        return found

    def _note_image(self, name: str, found: ImageRecord) -> None:
        """An image's package URL, and its digest in the registry, or its id (purl-spec, type docker)."""
        if references.is_id(name):
            return
        parsed = references.parse(name)
        same = (one.partition("@sha256:")[2] for one in found.digests if references.parse(one).name == parsed.name)
        digest = parsed.digest.removeprefix("sha256:") or next(same, found.id.removeprefix("sha256:"))
        short = references.Reference(parsed.registry, parsed.repository).familiar
        version = f"@{parsed.tag or parsed.digest}"
        system = f"{found.os}%2F{found.architecture}" + (f"%2F{found.variant}" if found.variant else "")
        self.materials[f"pkg:docker/{short}{version}?platform={system}"] = {"sha256": digest}

    def _pinned(self, name: str) -> str:
        if self.spec.pins is None or references.is_id(name):
            return name
        wanted = references.parse(name)
        return name if wanted.digest else self.pin(str(wanted))

    def pin(self, name: str) -> str:
        """The lock's entry for something to fetch, "" when the build is not locked. Raises BuildFailed."""
        if self.spec.pins is None:
            return ""
        if name not in self.spec.pins:
            raise BuildFailed(f"composer.lock has no entry for {name}", hint="Run `composer lock` to add it.")
        return self.spec.pins[name]

    def _directory(self, key: str, path: str, title: str) -> SourceTree:
        if key not in self._trees:
            if _REMOTE.match(path):
                raise Unsupported(
                    f"{title} {path} is remote, which is not supported",
                    hint="Clone or download it and name the local directory.",
                )
            try:
                root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise OperationFailed.of(f"open {title}", path, error) from error
            self._stack.callback(os.close, root)
            self._trees[key] = self._keep(
                SourceTree(
                    root,
                    title,
                    ignore=self.ignore(root, key),
                    owned=False,
                    digests=None if temporary_directory.holds(self.folder, path) else Digests(self.folder, path),
                    identity=path,
                    layers=lambda tree: view.layers(tree, path, self.folder, self._stack),
                )
            )
        return self._trees[key]

    @property
    def folder(self) -> str:
        """The directory for build data that is not part of an image."""
        path = self.images.store.roots.builds
        make_private(path)
        return path

    @property
    def temporary(self) -> str:
        """A directory for temporary files, removed at the build's end."""
        if not self._temporary:
            self._temporary, lock = temporary_directory.make(self.folder)
            self._stack.callback(temporary_directory.remove, self._temporary, lock)
        return self._temporary

    def empty(self) -> str:
        """The root of a stage without files."""
        return view.empty(self.folder)

    def ignore(self, root: int, key: str) -> Ignore:
        """`<Dockerfile>.dockerignore` beside the Dockerfile, else .dockerignore in the context's root."""
        if not key and self.spec.dockerfile_inline is None:
            specific = os.path.join(self.spec.context, self.spec.dockerfile + ".dockerignore")
            if os.path.exists(specific):
                return _ignore(specific, None)
        return _ignore(".dockerignore", root)

    def _keep(self, tree: SourceTree) -> SourceTree:
        self._stack.callback(tree.close)
        return tree


def _familiar(name: str) -> str:
    try:
        return references.parse(name.lower()).familiar.removesuffix(":latest")
    except BadReference:
        return name.lower()


def _ignore(path: str, folder: int | None) -> Ignore:
    """The patterns in a file, none when it does not exist."""
    try:
        text = read_bytes(path, 16 * MIB, "an ignore file", dir_fd=folder).decode("utf-8-sig", "surrogateescape")
        return Ignore(text.split("\n"), os.path.basename(path))
    except FileNotFoundError:
        return Ignore(())
    except OSError as error:
        raise OperationFailed.of("read", path, error) from error
