"""RUN --mount: what is mounted while the process runs, and what of it counts for the cache.

bind      from the context, a stage or an image: an overlay over it, so that nothing written gets back
cache     <state>/cache/build/<hash>: kept between builds, never part of the image, may be deleted at any time
tmpfs, secret (a file on a tmpfs), ssh (a socket in front of the agent's)
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import posixpath
import secrets
import stat
from typing import TYPE_CHECKING

import msgspec

from engine.bounded_read import MIB, read_bytes
from engine.build import instructions as ins
from engine.build.context import Match, SourceTree
from engine.build.copying import How, Target
from engine.build.execute import RunTree
from engine.build.metadata import working_dir
from engine.build.mount_flag import run_mount
from engine.errors import BuildFailed, OperationFailed
from engine.filetree.remove import remove
from engine.image.tree import Tree
from engine.paths import make_private, make_seen
from engine.spec.container import Mount

if TYPE_CHECKING:
    from engine.build.stage import StageRun


class Prepared:
    """The result of `Mounts.make`: the container's mounts, the trees that some of them show, and variables."""

    def __init__(self) -> None:
        self.mounts: list[Mount] = []
        self.trees: dict[str, RunTree] = {}
        self.variables: dict[str, str] = {}


class Mounts:
    """The mounts of one RUN. Raises ValueError, BuildFailed for invalid ones."""

    def __init__(self, run: StageRun, mounts: tuple[ins.MountText, ...]) -> None:
        self._run = run
        self._mounts = [self._placed(run_mount(mount.text, run.expand)) for mount in mounts]
        self._binds = {at: self._bind(mount) for at, mount in enumerate(self._mounts) if mount.type == "bind"}

    def _placed(self, mount: ins.RunMount) -> ins.RunMount:
        """The mount with an absolute target; one without a target is at the working directory."""
        if mount.type in ("secret", "ssh") and not mount.target:
            return mount
        target = working_dir(self._run.state.config, mount.target)
        if target == "/":
            raise BuildFailed(f'invalid mount target "{target}"')
        cache = posixpath.normpath(mount.target) if mount.type == "cache" and not mount.id else mount.id
        return msgspec.structs.replace(mount, target=target, id=cache)

    def _bind(self, mount: ins.RunMount) -> tuple[SourceTree, Match]:
        tree = self._run.tree(mount.from_)
        return tree, tree.find(mount.source)

    def identity(self) -> list[object]:
        """The parts of the step's cache key: neither the content of secrets nor that of caches."""
        return [(mount, self._digest(at)) for at, mount in enumerate(self._mounts)]

    def _digest(self, at: int) -> str:
        if at not in self._binds:
            return ""
        tree, match = self._binds[at]
        return tree.digest([match])

    def make(self, stack: contextlib.ExitStack) -> Prepared:
        """Prepare all of them; `stack` undoes it."""
        prepared = Prepared()
        for at, mount in enumerate(self._mounts):
            if mount.type == "tmpfs":
                prepared.mounts.append(
                    Mount(type="tmpfs", target=mount.target, size=mount.size, read_only=mount.read_only)
                )
            elif mount.type == "cache":
                source = self._cache(mount, stack)
                prepared.mounts.append(
                    Mount(type="bind", source=source, target=mount.target, read_only=mount.read_only)
                )
            elif mount.type == "bind":
                self._show(mount, *self._binds[at], prepared, stack)
            elif mount.type == "secret":
                self._secret(mount, prepared)
            else:
                self._ssh(mount, prepared, stack)
        return prepared

    def _folder(self) -> str:
        path = self._run.build.images.store.roots.builds
        make_private(path)
        return path

    def _cache(self, mount: ins.RunMount, stack: contextlib.ExitStack) -> str:
        """The directory of a cache mount; with `locked` the build waits for others, with `private` it uses a free
        one."""
        identity = mount.id + (f"\0{self._run.tree(mount.from_).identity}" if mount.from_ else "")
        base = f"{self._folder()}/{hashlib.sha256(identity.encode()).hexdigest()[:24]}"
        try:
            for number in range(1000):
                path = f"{base}-{number}" if number else base
                lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if self._locked(lock, mount.sharing or "shared"):
                    break
                os.close(lock)
            stack.callback(os.close, lock)
            self._empty_once(path, lock, mount.sharing or "shared")
            return self._fill_cache(path, mount)
        except OSError as error:
            raise OperationFailed.of("prepare cache mount", base, error) from error

    def _empty_once(self, path: str, lock: int, sharing: str) -> None:
        """In a build with --no-cache, each cache mount starts empty, unless another build is using it."""
        build = self._run.build
        if not self._run.ignores_cache or path in build.emptied:
            return
        build.emptied.add(path)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
        if sharing == "shared":
            fcntl.flock(lock, fcntl.LOCK_SH)

    @staticmethod
    def _locked(lock: int, sharing: str) -> bool:
        operation = {"shared": fcntl.LOCK_SH, "locked": fcntl.LOCK_EX, "private": fcntl.LOCK_EX | fcntl.LOCK_NB}[
            sharing
        ]
        try:
            fcntl.flock(lock, operation)
        except BlockingIOError:
            return False
        return True

    def _fill_cache(self, path: str, mount: ins.RunMount) -> str:
        """The part of the cache in the directory `path` to mount. A new cache starts with the content of `from`; one with its
        own owner or mode is an empty directory inside it."""
        make_seen(path)
        source = posixpath.normpath("/" + mount.source).strip("/")
        if not source and (mount.uid, mount.gid, mount.mode) != (None, None, None):
            inner = f"{path}/cache-{mount.uid or 0}-{mount.gid or 0}-{mount.mode or 0o755:o}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(inner, 0o700)
                fd = os.open(inner, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                os.fchown(fd, mount.uid or 0, mount.gid or 0)
                os.fchmod(fd, 0o755 if mount.mode is None else mount.mode)
                os.close(fd)
            return inner
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Tree(root, path) as tree:
                if mount.from_ and (not os.listdir(root) if not source else tree.lstat(source) is None):
                    origin = self._run.tree(mount.from_)
                    match = origin.find(source)
                    at = source if match.is_directory else posixpath.dirname(source) + "/"
                    Target(tree, f"/{at}", How()).copy(origin, match)
                if source and tree.lstat(source) is None:
                    raise BuildFailed(f'"/{source}": not found in the cache {mount.id}')
                found = tree.open(source, os.O_PATH)
                try:
                    return os.readlink(f"/proc/self/fd/{found}")
                finally:
                    os.close(found)
        finally:
            os.close(root)

    def _show(
        self, mount: ins.RunMount, tree: SourceTree, match: Match, prepared: Prepared, stack: contextlib.ExitStack
    ) -> None:
        """An overlay over the tree itself, or over a copy if the tree cannot be a layer."""
        layers = tree.layers()
        if layers is None:
            prepared.mounts.append(self._copied(mount, tree, match, stack))
            return
        key = f"tree{len(prepared.trees)}"
        upper = ""
        if not mount.read_only:
            upper = self._scratch(stack)
        prepared.trees[key] = RunTree(layers=layers, scratch=upper)
        prepared.mounts.append(Mount(type="image", source=key, target=mount.target, subpath=match.name))

    def _scratch(self, stack: contextlib.ExitStack) -> str:
        """A directory with `upper` and `work`, which is removed after the step."""
        path = f"{self._folder()}/.bind-{secrets.token_hex(8)}"
        os.mkdir(path)
        stack.callback(remove, path)
        for name in ("upper", "work"):
            make_seen(f"{path}/{name}")
        return path

    def _copied(self, mount: ins.RunMount, tree: SourceTree, match: Match, stack: contextlib.ExitStack) -> Mount:
        path = f"{self._scratch(stack)}/upper"
        self._copy(tree, match, path)
        source = path if match.is_directory else f"{path}/{match.name.rpartition('/')[2]}"
        return Mount(type="bind", source=source, target=mount.target, read_only=mount.read_only, create_host_path=False)

    @staticmethod
    def _copy(tree: SourceTree, match: Match, path: str) -> None:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Tree(root, path) as target:
                Target(target, "/", How()).copy(tree, match)
            if match.is_directory:
                os.fchmod(root, stat.S_IMODE(match.items[0].status.st_mode))
        finally:
            os.close(root)

    def _secret(self, mount: ins.RunMount, prepared: Prepared) -> None:
        """A file, a variable, or both when a target and a variable are named."""
        name = mount.secret
        content = self._secret_content(name)
        if content is None:
            if mount.required:
                raise BuildFailed(f"secret {name}: not found", hint="Name it in build.secrets, or with --secret.")
            return
        if mount.env is not None:
            prepared.variables[mount.env or name] = content
        if mount.target or mount.env is None:
            target = mount.target or f"/run/secrets/{posixpath.basename(name)}"
            prepared.mounts.append(
                Mount(
                    type="file",
                    target=target,
                    content=content,
                    uid=mount.uid or 0,
                    gid=mount.gid or 0,
                    mode=0o400 if mount.mode is None else mount.mode,
                    read_only=True,
                )
            )

    def _secret_content(self, name: str) -> str | None:
        spec = self._run.build.spec
        secret = next((secret for secret in spec.secrets if secret.id == name), None)
        if secret is None:
            return None
        if secret.environment:
            content = spec.environ.get(secret.environment, os.environ.get(secret.environment))
            if content is None:
                raise BuildFailed(f"secret {name}: the environment variable {secret.environment} is not set")
            return content
        try:
            return read_bytes(secret.file, MIB, "a build's secret").decode("utf-8", "surrogateescape")
        except OSError as error:
            raise OperationFailed.of(f"read secret {name} from", secret.file, error) from error

    def _ssh(self, mount: ins.RunMount, prepared: Prepared, stack: contextlib.ExitStack) -> None:
        name = mount.id or "default"
        spec = self._run.build.spec
        number = sum(one.target.startswith(_SSH_SOCKET) for one in prepared.mounts)
        target = mount.target or f"{_SSH_SOCKET}{number}"
        prepared.variables.setdefault("SSH_AUTH_SOCK", target)
        given = dict(entry.partition("=")[::2] for entry in spec.ssh)
        sources = [source for source in given.get(name, "").split(",") if source]
        if name in given and not sources:
            environ = spec.environ or os.environ
            sources = [socket] if (socket := environ.get("SSH_AUTH_SOCK", "")) else []
        if not sources:
            if mount.required:
                hint = f"Start ssh-agent, or name its socket or a key file: --ssh {name}=PATH, or build.ssh."
                raise BuildFailed(f"ssh {name}: no agent", hint=hint)
            return
        from engine.build import ssh_agent  # late, as few builds need it

        folder = self._scratch(stack)
        owner, mode = (mount.uid or 0, mount.gid or 0), 0o600 if mount.mode is None else mount.mode
        socket = ssh_agent.serve(stack, folder, sources, owner=owner, mode=mode)
        prepared.mounts.append(Mount(type="bind", source=socket, target=target, create_host_path=False))


_SSH_SOCKET = "/run/buildkit/ssh_agent."
