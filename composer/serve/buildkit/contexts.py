"""A build's inputs, fetched from its client: the context, the Dockerfile, named contexts, secrets (moby/buildkit,
frontend/dockerui).

    local:NAME, or unset     a directory of the client, over the session
    input:NAME               an LLB definition in the request (definition.py)
    docker-image://, https://, git …   fetched by our builder
    http://buildkit-session/…          an archive that the client uploads
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio import to_thread
from msgspec import Struct

from composer.serve.buildkit import kept, session
from composer.serve.buildkit.definition import MADE_HERE, Source
from composer.serve.buildkit.grpc import INVALID, UNIMPLEMENTED, UNKNOWN, Failed, Peer
from engine.errors import EngineError
from engine.spec.image import BuildSecret

if TYPE_CHECKING:
    from composer.serve.buildkit.status import Progress
    from composer.serve.server import Server

_SECRET = re.compile(r"--mount=(\S*type=secret\S*)")
_REMOTE = re.compile(r"(?:https?|git|ssh)://|git@")
_SCHEMES = ("docker-image://", "git://", "http://", "https://")
_UPLOAD = "buildkit-session"


class Brought(Struct, frozen=True):
    """A context and a Dockerfile for a BuildSpec: paths here, or what the builder fetches itself."""

    context: str
    dockerfile: str
    contexts: dict[str, str]
    secrets: tuple[BuildSecret, ...] = ()


class Contexts(contextlib.ExitStack):
    """The contexts of one build, in `folder` or kept from an earlier build of the client's `key`, until the end of the
    block. `inputs` are the definitions in the request, by name."""

    def __init__(
        self,
        server: Server,
        peer: Peer,
        options: Mapping[str, str],
        inputs: Mapping[str, Source],
        folder: str,
        key: str,
        progress: Progress,
    ) -> None:
        super().__init__()
        self._progress = progress
        self._server, self._peer, self._options, self._inputs, self._folder = server, peer, options, inputs, folder
        self._key = key
        self._name = options.get("filename") or "Dockerfile"
        self._context = options.get("contextkey") or "context"
        self._dockerfile = options.get("dockerfilekey") or "dockerfile"

    async def bring(self) -> Brought:
        """Failed."""
        remote = self._options.get(self._context, "")
        if not remote and "context" in self._inputs:
            remote = "input:context"
        if not remote or remote.startswith("local:"):
            return await self._local()
        if urlsplit(remote).hostname == _UPLOAD:
            context = await self._uploaded(remote)
        else:
            context = await self._named(remote)
        if "dockerfilekey" in self._options and self._dockerfile not in self._inputs:
            dockerfile = await self._own_dockerfile()
        else:
            dockerfile = self._inside(context, self._name) if context.startswith("/") else self._name
        hidden = await self._secrets(dockerfile) if dockerfile.startswith("/") else ()
        return Brought(context, dockerfile, await self._all_named(), hidden)

    async def _local(self) -> Brought:
        path = await self._own_dockerfile()
        ignored = await self._ignored(f"{path}.dockerignore")
        named = await self._all_named()
        wanted = await self._wanted(path, named)
        if wanted == []:
            context = self._new("context")
        else:
            context, only = self._place(self._context), wanted or ()
            with self._progress.transfer("load build context", "context") as received:
                received(await session.fetch(self._peer, self._context, context, only=only, without=ignored))
        return Brought(context, path, named, await self._secrets(path))

    async def _wanted(self, dockerfile: str, named: Mapping[str, str]) -> list[str] | None:
        """The paths that the build may read, None for all. The build itself reports errors in the Dockerfile."""

        def read() -> list[str] | None:
            return self._server.open_engine().context_paths(dockerfile, named)

        try:
            return await to_thread.run_sync(read)
        except EngineError:
            return []

    async def _directory(self, name: str) -> str:
        """A directory of the client; only its changes are transferred."""
        place = self._place(name)
        await session.fetch(self._peer, name, place)
        return place

    def _place(self, name: str) -> str:
        """The folder for the client's directory `name`, with its files if an earlier build has left them."""
        kept_place = self.enter_context(kept.folder(self._server.roots, self._key, name))
        return kept_place or self._new(f"local-{secrets.token_hex(4)}")

    def _new(self, name: str) -> str:
        path = f"{self._folder}/{name}"
        os.mkdir(path, 0o755)
        return path

    async def _own_dockerfile(self) -> str:
        """The client's Dockerfile, in a separate folder."""
        folder, name = self._new("dockerfile"), self._name
        wanted = [name, f"{name}.dockerignore", *([] if name != "Dockerfile" else ["dockerfile"])]
        with self._progress.transfer(f"load build definition from {name}", "dockerfile") as received:
            received(await session.fetch(self._peer, self._dockerfile, folder, only=wanted))
        if name == "Dockerfile" and not os.path.exists(f"{folder}/{name}"):
            name = "dockerfile"
        return self._inside(folder, name)

    def _inside(self, folder: str, name: str) -> str:
        """The path of a Dockerfile in a folder that the client has filled; it cannot lead out of that folder. Raises
        Failed."""
        path = os.path.realpath(f"{folder}/{name}")
        if not path.startswith(f"{os.path.realpath(folder)}/") or not os.path.isfile(path):
            raise Failed(UNKNOWN, f"failed to read dockerfile: open {self._name}: no such file or directory")
        return path

    async def _ignored(self, specific: str) -> list[str]:
        """Patterns of files that the client need not send: from the Dockerfile's ignore file, else from the context's."""
        if not os.path.isfile(specific):
            place = self._new("ignore")
            with self._progress.transfer("load .dockerignore", "context") as received:
                received(await session.fetch(self._peer, self._context, place, only=[".dockerignore"]))
            specific = f"{place}/.dockerignore"
        try:
            fd = os.open(specific, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(fd, encoding="utf-8-sig", errors="surrogateescape") as file:
                lines = [line.strip() for line in file]
        except OSError:
            return []
        return [_cleaned(line) for line in lines if line and not line.startswith("#")]

    async def _uploaded(self, url: str) -> str:
        """An archive from the client's standard input."""
        place, file = self._new("context"), f"{self._folder}/archive"
        with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "r+b") as archive:
            await session.upload(self._peer, urlsplit(url).path, archive.fileno())
            archive.seek(0)
            engine = self._server.open_engine()
            await to_thread.run_sync(engine.unpack_local, archive.fileno(), place, str)
        return place

    async def _all_named(self) -> dict[str, str]:
        return {
            key.removeprefix("context:").partition("::")[0]: await self._named(value)
            for key, value in self._options.items()
            if key.startswith("context:")
        }

    async def _named(self, value: str) -> str:
        """A context in the form that our builder accepts. Raises Failed."""
        if value.startswith("input:"):
            source = self._inputs.get(value.removeprefix("input:"))
            if source is None:
                raise Failed(INVALID, f"the request has no input for the context {value}")
            return await self._of_source(source)
        if value.startswith("local:"):
            return await self._directory(value.removeprefix("local:"))
        if value.startswith("docker-image://") or _REMOTE.match(value):
            return value
        raise Failed(UNIMPLEMENTED, f"the context {value} is not supported here")

    async def _of_source(self, source: Source) -> str:
        scheme, _, rest = source.identifier.partition("://")
        if not source.identifier:
            return self._new(f"empty-{secrets.token_hex(4)}")
        if scheme == "local":
            return await self._directory(rest)
        if source.identifier.startswith(MADE_HERE):
            return f"docker-image://{rest}"
        if scheme == "git" and (full := source.attributes.get("git.fullurl")):
            fragment = source.identifier.partition("#")[2]
            return f"{full.partition('#')[0]}#{fragment}" if fragment else full
        if source.identifier.startswith(_SCHEMES):
            return source.identifier
        raise Failed(UNIMPLEMENTED, f"the LLB source {source.identifier} is not supported here")

    async def _secrets(self, path: str) -> tuple[BuildSecret, ...]:
        """Those of the Dockerfile's secrets that the client has, as files that only we can read."""
        with open(path, encoding="utf-8", errors="replace") as file:
            mounts = _SECRET.findall(file.read())
        found = []
        for identity in dict.fromkeys(filter(None, map(_secret_id, mounts))):
            content = await session.secret(self._peer, identity)
            if content is not None:
                place = f"{self._folder}/secret-{secrets.token_hex(4)}"
                with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file_:
                    file_.write(content)
                found.append(BuildSecret(id=identity, file=place))
        return tuple(found)


def _cleaned(line: str) -> str:
    """The pattern in the form of the client's matcher: without leading and trailing slashes."""
    bang, plain = ("!", line[1:].strip()) if line.startswith("!") else ("", line)
    return bang + (os.path.normpath(plain).lstrip("/") or ".")


def mount_options(mount: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in mount.split(","))


def _secret_id(mount: str) -> str:
    options = mount_options(mount)
    target = options.get("target") or options.get("dst") or options.get("destination") or ""
    return options.get("id") or os.path.basename(target)
