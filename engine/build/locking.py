"""The sources that a build fetches, and their current versions: the part of composer.lock for builds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import structs

from engine.build import git, remote
from engine.build import instructions as ins
from engine.build.builder import Builder
from engine.build.remote_context import is_elsewhere
from engine.build.sources import IMAGE_SCHEME, Sources
from engine.build.stage import Build, StageRun
from engine.build.stages import Dockerfile, Stage, order, triggers
from engine.build.state import State, from_image, scratch
from engine.errors import BadReference
from engine.image import reference as references
from engine.image.images import ImageStore
from engine.spec.image import BuildSpec

_PARALLEL = 4


def lock(spec: BuildSpec, *, images: ImageStore, pinned: Callable[[str], str]) -> dict[str, str]:
    """The pins of a build (BuildSpec.pins): its context, images, downloads and repositories. Those that `spec.pins` has
    are taken from there.

    `pinned` asks a registry for the digest of an image, as `engine.registry.lock`. Variables of a base image are known
    only while the image is in the store. Raises BuildFailed, NotFound, RegistryError.
    """
    known = spec.pins or {}
    pins: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        sources = Sources(structs.replace(spec, pins=None), images, stack, None)
        for text in (spec.context, *spec.additional_contexts.values()):
            if is_elsewhere(text) and (key := _key(text)):
                pins[key] = known.get(key) or _file(text, sources)
        builder = Builder(structs.replace(spec, pins={**known, **pins}), images, _never, None, None)
        with builder.context():
            found = _Lister(builder, sources)
        wanted = [(str(references.parse(name)), name, pinned) for name in found.images]
        wanted += [(_key(text), text, lambda text: _file(text, sources)) for text in found.files if _key(text)]
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="lock") as pool:
            pins.update(pool.map(lambda one: (one[0], known.get(one[0]) or one[2](one[1])), wanted))
    return pins


def _key(text: str) -> str:
    """How the lock names a URL or repository; "" for one that names its commit itself."""
    if not git.is_git(text):
        return text
    repository = git.parse(text)
    return "" if repository.commit or git.COMMIT.fullmatch(repository.ref) else repository.key


def _file(text: str, sources: Sources) -> str:
    if git.is_git(text):
        return git.commit_of(git.parse(text))
    return remote.fetch(text, "", sources, "composer lock: ").digest


class _Lister:
    """Reads a Dockerfile without executing it. `images` and `files` are what the target needs: names of images, and texts
    of URLs and repositories."""

    def __init__(self, builder: Builder, sources: Sources) -> None:
        self.images: dict[str, None] = {}
        self.files: dict[str, None] = {}
        self.store, self.platform = builder.images, builder.platform
        _, dockerfile = builder.arranged()
        build = Build(
            builder.spec, dockerfile, builder.images, sources, _never, builder.reporter, builder.build_args(),
            builder.platform_args(),
        )  # fmt: skip
        for stage in order(dockerfile, builder.target(dockerfile)):
            build.states[stage.index] = self._stage(build, stage)

    def _stage(self, build: Build, stage: Stage) -> State:
        state = self._begin(build, stage)
        run = StageRun(build, stage, state)
        for instruction in (*triggers(state.config.on_build, stage), *stage.body):
            if isinstance(instruction, ins.Arg):
                run.arg(instruction)
            elif isinstance(instruction, ins.Env):
                run.configure(instruction)
            elif isinstance(instruction, ins.Copy):
                self._copy(run, instruction)
            elif isinstance(instruction, ins.Run):
                for mount in instruction.mounts:
                    self._source(build.dockerfile, build.sources, mount.from_, numbers=False)
        return run.state

    def _begin(self, build: Build, stage: Stage) -> State:
        if stage.base is not None:
            return build.states[stage.base].copy()
        self._source(build.dockerfile, build.sources, stage.image, numbers=False)
        with contextlib.suppress(BadReference):
            if stage.image != "scratch" and (record := self.store.get(stage.image)):
                return from_image(self.store, record)
        return scratch(self.platform)

    def _copy(self, run: StageRun, instruction: ins.Copy) -> None:
        self._source(run.build.dockerfile, run.build.sources, instruction.from_, numbers=True)
        texts = run.expand_all(instruction.sources) if instruction.add else []
        if not run.expand(instruction.checksum):
            self.files.update(dict.fromkeys(filter(remote.is_remote, texts)))

    def _source(self, dockerfile: Dockerfile, sources: Sources, name: str, *, numbers: bool) -> None:
        """An image that FROM or --from names, unless it is a stage or a directory."""
        if context := sources.named(name) if name else "":
            name = context.removeprefix(IMAGE_SCHEME) if context.startswith(IMAGE_SCHEME) else ""
        elif name and (dockerfile.numbered(name) if numbers else dockerfile.find(name)):
            return
        if name and name != "scratch" and not references.is_id(name) and not references.parse(name).digest:
            self.images[name] = None


def _never(request: object, output: object, warn: object) -> int:
    raise AssertionError("locking runs nothing")
