"""RUN --mount: what is mounted while the process runs, and what of it counts for the cache.

bind      from the context, a stage or an image: a copy, so that nothing written gets back and .dockerignore holds
cache     <state>/cache/build/<hash>: kept between builds, never part of the image, may be deleted at any time
tmpfs, secret (a file on a tmpfs), ssh (the agent's socket)
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
from typing import TYPE_CHECKING

import msgspec

from engine.bounded import MIB, read_bytes
from engine.build import instructions as ins
from engine.build.context import Match, SourceTree
from engine.build.copying import How, Target
from engine.build.metadata import working_dir
from engine.errors import BuildFailed, OperationFailed, Unsupported
from engine.filetree.remove import remove_at
from engine.image.tree import Tree
from engine.paths import make_private
from engine.spec.container import Mount

if TYPE_CHECKING:
    from engine.build.stage import StageRun

_SSH_SOCKET = "/run/buildkit/ssh_agent.0"


class Mounts:
    """The mounts of one RUN."""

    def __init__(self, run: StageRun, mounts: tuple[ins.RunMount, ...]) -> None:
        self._run = run
        self._mounts = [self._expanded(mount) for mount in mounts]
        self._binds = {at: self._bind(mount) for at, mount in enumerate(self._mounts) if mount.type == "bind"}

    def _expanded(self, mount: ins.RunMount) -> ins.RunMount:
        expand = self._run.expand
        target = expand(mount.target)
        return msgspec.structs.replace(
            mount,
            target=working_dir(self._run.state.config, target) if target else "",
            source=expand(mount.source),
            id=expand(mount.id),
            from_=expand(mount.from_),
        )

    def _bind(self, mount: ins.RunMount) -> tuple[SourceTree, Match]:
        tree = self._run.tree(mount.from_)
        return tree, tree.match(mount.source or "/")[0]

    def identity(self) -> list[object]:
        """What belongs into the step's cache key: not what secrets hold, nor what a cache happens to contain."""
        return [
            (mount.type, mount.id, mount.target, mount.source, mount.env, self._digest(at))
            for at, mount in enumerate(self._mounts)
        ]

    def _digest(self, at: int) -> str:
        if at not in self._binds:
            return ""
        tree, match = self._binds[at]
        return tree.digest([match])

    def make(self, stack: contextlib.ExitStack) -> tuple[list[Mount], dict[str, str]]:
        """The mounts for the container and the variables that come with them; `stack` undoes them."""
        mounts: list[Mount] = []
        variables: dict[str, str] = {}
        for at, mount in enumerate(self._mounts):
            if mount.type == "tmpfs":
                mounts.append(Mount(type="tmpfs", target=mount.target, size=mount.size))
            elif mount.type == "cache":
                mounts.append(
                    Mount(
                        type="bind",
                        source=self._cache(mount, stack),
                        target=mount.target,
                        read_only=bool(mount.read_only),
                    )
                )
            elif mount.type == "bind":
                mounts.append(self._copied(mount, *self._binds[at], stack))
            elif mount.type == "secret":
                self._secret(mount, mounts, variables)
            else:
                self._ssh(mount, mounts, variables)
        return mounts, variables

    def _folder(self) -> str:
        path = f"{self._run.build.images.store.roots.cache}/build"
        make_private(path)
        return path

    def _cache(self, mount: ins.RunMount, stack: contextlib.ExitStack) -> str:
        """The folder of a cache mount; with `locked` the build waits for others, with `private` it takes a free one."""
        base = f"{self._folder()}/{hashlib.sha256((mount.id or mount.target).encode()).hexdigest()[:24]}"
        try:
            for number in range(1000):
                path = f"{base}-{number}" if number else base
                lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                if self._locked(lock, mount.sharing):
                    break
                os.close(lock)
            stack.callback(os.close, lock)
            self._fill_cache(path, mount)
        except OSError as error:
            raise OperationFailed.of("prepare cache mount", base, error) from error
        return path

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

    def _fill_cache(self, path: str, mount: ins.RunMount) -> None:
        """A new cache begins with what from= and source= name, and has the owner and mode asked for."""
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            return
        if mount.from_:
            tree, match = self._bind(mount)
            self._copy(tree, match, path)
        os.chown(path, mount.uid, mount.gid)
        os.chmod(path, mount.mode if mount.mode is not None else 0o755)

    def _copied(self, mount: ins.RunMount, tree: SourceTree, match: Match, stack: contextlib.ExitStack) -> Mount:
        path = f"{self._folder()}/.bind-{secrets.token_hex(8)}"
        os.mkdir(path, 0o755)
        stack.callback(self._remove, path)
        self._copy(tree, match, path)
        source = path if match.is_directory else f"{path}/{match.name.rpartition('/')[2]}"
        read_only = mount.read_only is not False
        return Mount(type="bind", source=source, target=mount.target, read_only=read_only, create_host_path=False)

    @staticmethod
    def _copy(tree: SourceTree, match: Match, path: str) -> None:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Tree(root, path) as target:
                Target(target, "/", How()).copy(tree, [match])
            if match.is_directory:
                os.fchmod(root, stat.S_IMODE(match.items[0].status.st_mode))
        finally:
            os.close(root)

    def _remove(self, path: str) -> None:
        parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_at(parent, os.path.basename(path))
        finally:
            os.close(parent)

    def _secret(self, mount: ins.RunMount, mounts: list[Mount], variables: dict[str, str]) -> None:
        name = mount.id or mount.source or mount.target.rpartition("/")[2]
        secret = next((secret for secret in self._run.build.spec.secrets if secret.id == name), None)
        if secret is None:
            if mount.required:
                raise BuildFailed(f"secret {name}: not found", hint="Name it in build.secrets.")
            return
        if secret.environment:
            content = self._run.build.spec.environ.get(secret.environment, os.environ.get(secret.environment))
            if content is None:
                raise BuildFailed(f"secret {name}: the environment variable {secret.environment} is not set")
        else:
            try:
                content = read_bytes(secret.file, MIB, "a build's secret").decode("utf-8", "surrogateescape")
            except OSError as error:
                raise OperationFailed.of(f"read secret {name} from", secret.file, error) from error
        if mount.env:
            variables[mount.env] = content
        if mount.target or not mount.env:
            mode = mount.mode if mount.mode is not None else 0o400
            target = mount.target or f"/run/secrets/{name}"
            mounts.append(
                Mount(
                    type="file", target=target, content=content, uid=mount.uid, gid=mount.gid, mode=mode, read_only=True
                )
            )

    def _ssh(self, mount: ins.RunMount, mounts: list[Mount], variables: dict[str, str]) -> None:
        name = mount.id or "default"
        given = dict(entry.partition("=")[::2] for entry in self._run.build.spec.ssh)
        environ = self._run.build.spec.environ or os.environ
        socket = given.get(name) or (environ.get("SSH_AUTH_SOCK", "") if name in given or name == "default" else "")
        if not socket:
            if mount.required:
                raise BuildFailed(f"ssh {name}: no agent", hint="Start ssh-agent, or name its socket in build.ssh.")
            return
        if not os.path.exists(socket) or not stat.S_ISSOCK(os.stat(socket).st_mode):
            raise Unsupported(
                f"ssh {name}: {socket} is not an agent's socket",
                hint="Load the key into ssh-agent and name its socket.",
            )
        target = mount.target or _SSH_SOCKET
        mounts.append(Mount(type="bind", source=socket, target=target, create_host_path=False))
        variables["SSH_AUTH_SOCK"] = target
