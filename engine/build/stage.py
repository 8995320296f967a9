"""Executing one stage: each instruction changes the state; instructions that write files create a layer, or take it from the
cache."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from engine.build import copy_step, metadata, owner, reproducible, run_step
from engine.build import instructions as ins
from engine.build.cache import BuildCache, key_of
from engine.build.context import SourceTree
from engine.build.copying import How, Target
from engine.build.execute import RunStep
from engine.build.lex import Source
from engine.build.progress import Reporter, Step
from engine.build.sources import IMAGE_SCHEME, Sources
from engine.build.stages import Dockerfile, Stage, order, triggers
from engine.build.state import State
from engine.build.task import Task
from engine.build.words import WordError, expand
from engine.errors import BuildFailed, EngineError, OperationFailed
from engine.image.config import environment
from engine.image.images import ImageStore
from engine.image.layer_add import seal
from engine.image.layers import Draft
from engine.image.merged import merged
from engine.image.tree import Tree
from engine.image.usage import CacheRecord
from engine.spec.image import BuildSpec

if TYPE_CHECKING:
    from engine.build.cache_exchange.importing import Imports

_VISIBLE = (ins.From, ins.Run, ins.Copy, ins.Workdir)


class Build:
    """The context for executing one stage. Stages may run in several threads: each has its own `images` and `sources`, and
    shares the rest through `fork`."""

    def __init__(
        self,
        spec: BuildSpec,
        dockerfile: Dockerfile,
        images: ImageStore,
        sources: Sources,
        run: RunStep,
        reporter: Reporter,
        build_args: Mapping[str, str],
        platform_args: Mapping[str, str],
    ) -> None:
        self.spec, self.dockerfile, self.images, self.sources = spec, dockerfile, images, sources
        self.run, self.reporter = run, reporter
        self.build_args, self.platform_args = build_args, platform_args
        self.cache = BuildCache(images.store)
        self.states: dict[int, State] = {}
        self.used_keys: list[str] = []
        self.records: dict[str, CacheRecord] = {}
        """Of each step that was executed or taken from the cache."""
        self.imports: Imports | None = None
        self.used_args: set[str] = set()
        self.stopped = threading.Event()
        self.emptied: set[str] = set()
        """Folders of cache mounts that this build has emptied."""
        self.execute: Callable[[Build, Stage], State] | None = None
        self.prepare: Callable[[], None] = lambda: None
        """Called for each step that the cache does not have."""

    def need(self, stage: Stage, user: Stage) -> State:
        """The finished `stage`. One that only the triggers of a base image use is executed now.

        Raises BuildFailed if it is not defined above `user`."""
        if stage.index >= user.index:
            raise BuildFailed(f"cannot copy from stage {stage.title}: it is defined after {user.title}, which needs it")
        if stage.index not in self.states:
            assert self.execute
            for one in order(self.dockerfile, stage):
                if one.index not in self.states:
                    self.states[one.index] = self.execute(self, one)
        return self.states[stage.index]

    def fork(self, images: ImageStore, sources: Sources) -> Build:
        """The same build for another thread."""
        other = copy.copy(self)
        other.images, other.sources, other.cache = images, sources, BuildCache(images.store)
        return other


class StoppedError(Exception):
    """Another stage failed, so this one stops."""


class StageRun:
    """A stage being executed: `state` is the image so far."""

    def __init__(self, build: Build, stage: Stage, state: State) -> None:
        self.build, self.stage, self.state = build, stage, state
        self.source: Source = build.dockerfile.source
        self._number = 1
        self._total = 1 + sum(isinstance(one, _VISIBLE) for one in stage.body)

    def place(self) -> str:
        several = len(self.build.dockerfile.stages) > 1 or self.stage.name
        return f"{self.stage.title} {self._number}/{self._total}" if several else f"{self._number}/{self._total}"

    def execute(self) -> State:
        """Execute all instructions, after the ONBUILD triggers of the base image. Those of an image in place of the stage are
        for the stages based on it."""
        left = () if self.stage.replaced else self.state.config.on_build
        if left:
            self.state.config = msgspec.structs.replace(self.state.config, on_build=())
            parsed = triggers(left, self.stage)
            self._total += sum(isinstance(one, _VISIBLE) for one in parsed)
            for instruction in parsed:
                self.one(instruction)
        for instruction in self.stage.body:
            self.one(instruction)
        return self.state

    def one(self, instruction: ins.AnyInstruction) -> None:
        """Execute one instruction; errors get the Dockerfile's place."""
        if self.build.stopped.is_set():
            raise StoppedError
        try:
            if isinstance(instruction, ins.Arg):
                self.arg(instruction)
            elif isinstance(instruction, ins.Run):
                self.visible(instruction, run_step.prepare(self, instruction))
            elif isinstance(instruction, ins.Copy):
                self.visible(instruction, copy_step.prepare(self, instruction))
            elif isinstance(instruction, ins.Workdir):
                self.workdir(instruction)
            else:
                self.metadata(instruction)
        except (ValueError, WordError) as error:
            raise self.source.error(instruction.start, str(error), end=instruction.end) from error
        except BuildFailed as error:
            if error.exit_code or error.message.startswith(f"{self.source.name}:"):
                raise
            raise self.source.error(instruction.start, error.message, hint=error.hint, end=instruction.end) from error

    # -- instructions without files

    def arg(self, instruction: ins.Arg) -> None:
        """The given value, then the default, then the value of an ARG before FROM or of the platform."""
        build, shown = self.build, list[str]()
        for name, default in instruction.pairs:
            self.build.used_args.add(name)
            if name in build.build_args:
                value: str | None = build.build_args[name]
            elif default is not None:
                value = self.expand(default)
            else:
                value = build.dockerfile.global_args.get(name)
            if value is not None:
                self.state.values[name] = value
            self.state.declared.append((name, value))
            shown.append(name if value is None else f"{name}={value}")
        self.state.note(f"ARG {' '.join(shown)}")

    def metadata(self, instruction: ins.AnyInstruction) -> None:
        if line := self.configure(instruction):
            self.state.note(line)

    def configure(self, instruction: ins.AnyInstruction) -> str:
        """Change the configuration; returns the line of history."""
        state = self.state
        config, line = metadata.apply(state.config, instruction, self.expand, state.values, self.source.escape)
        if isinstance(instruction, ins.Maintainer):
            state.author = instruction.name
        elif isinstance(instruction, ins.Cmd):
            state.command_set = True
        elif isinstance(instruction, ins.Entrypoint) and not state.command_set:
            # The command that the base image had was meant for the base image's entrypoint.
            config = msgspec.structs.replace(config, command=())
        if isinstance(instruction, ins.Env):
            state.values.update((name, environment(config.environment)[name]) for name in self._names(instruction))
        state.config = config
        return line

    def _names(self, instruction: ins.Env) -> list[str]:
        return self.expand_all([name for name, _ in instruction.pairs])

    def workdir(self, instruction: ins.Workdir) -> None:
        line = self.configure(instruction)
        user = self.state.config.user
        if self.state.config.working_dir == "/":
            self.state.note(line)
            return
        path = metadata.working_dir(self.state.config, "")

        def make(draft: Draft, step: Step) -> None:
            with self.root(draft) as root:
                copy_step.make_directory(self, root, path, user, step)

        self.visible(instruction, Task(key_of("WORKDIR", self.state.top, path, user), line, make))

    # -- instructions with files

    @property
    def ignores_cache(self) -> bool:
        """Whether the stage's steps are executed even if the cache has them."""
        spec = self.build.spec
        return spec.no_cache or bool(self.stage.name and self.stage.name in map(str.lower, spec.no_cache_filter))

    def visible(self, instruction: ins.AnyInstruction, task: Task) -> None:
        """Take the layer from the cache, or create it."""
        self._number += 1
        step = self.build.reporter.step(self.place(), instruction.text)
        key = task.key if self.state.epoch is None else key_of("AT", self.state.epoch, task.key)
        record = None if self.ignores_cache else self._cached(key)
        try:
            if record is not None:
                self.build.used_keys.append(key)
                step.cached()
            else:
                record = self.make(key, task, step)
                step.done()
        except EngineError as error:
            step.failed(error.message)
            raise
        self.build.records[key] = record
        self.state.chain = list(record.layers)
        self.state.note(task.history, layer=True, created=record.created)

    def _cached(self, key: str) -> CacheRecord | None:
        build = self.build
        found = build.cache.get(key)
        if found is None and build.imports is not None:
            found = build.imports.get(key, self.state.chain, build.images, build.cache)
        return found

    def begin(self, tree: SourceTree) -> None:
        """Use a whole tree as the stage's first layer, without a line of history: FROM a directory."""
        match = tree.find("")

        def make(draft: Draft, step: Step) -> None:
            with self.root(draft) as root:
                Target(root, "/", How()).copy(tree, match)

        task = Task(key_of("FROM", tree.digest([match])), self.stage.origin.text, make)
        self.visible(self.stage.origin, task)
        self.state.history.pop()

    def make(self, key: str, task: Task, step: Step) -> CacheRecord:
        self.build.reporter.made += 1
        self.build.prepare()
        layers = self.build.images.layers
        parents = layers.need(self.state.chain)
        parent = parents[-1] if parents else None
        with layers.draft(parent.folder if parent else "") as draft:
            try:
                task.make(draft, step)
                if self.state.epoch is not None:
                    reproducible.clamp(draft.fd, self.state.epoch)
            except OSError as error:
                raise OperationFailed.of("execute", task.history, error) from error
            # A step that changed nothing has a layer as well, because the number of layers must match the history.
            chain = [*self.state.chain, seal(layers, draft, parent).chain_id]
            layers.discard(draft.name, later=True)  # if the layer existed already
        return self.build.cache.put(key, chain, task.history)

    @contextlib.contextmanager
    def root(self, draft: Draft) -> Iterator[Tree]:
        """The image's root as a tree that writes into `draft`."""
        with merged(self.lower(), draft.diff, draft.work) as fd, Tree(fd, "the image", upper=draft.fd) as tree:
            yield tree

    def lower(self) -> list[str]:
        """The directories of the image's layers so far, lowest first."""
        layers = self.build.images.layers
        return [layers.path(layer.folder) for layer in layers.need(self.state.chain)]

    def owner(self, text: str, root: Tree, step: Step) -> tuple[int, int]:
        """uid and gid of `user[:group]` in the image so far. Raises BuildFailed."""
        return owner.resolve(text, root, step.warn, empty=not self.state.chain)

    def tree(self, name: str, *, numbers: bool = False) -> SourceTree:
        """The tree that `from` names: "" is the context; otherwise a stage (with `numbers`, also by number), a named
        context, or an image."""
        build = self.build
        if not name:
            return build.sources.context()
        stage = build.dockerfile.numbered(name) if numbers else build.dockerfile.find(name)
        if stage is not None and not stage.replaced:
            return build.sources.stage(build.need(stage, self.stage).chain, f"stage {stage.title}")
        name = stage.name if stage is not None else name
        if named := build.sources.named(name):
            if not named.startswith(IMAGE_SCHEME):
                return build.sources.named_directory(name)
            name = named.removeprefix(IMAGE_SCHEME)
        record = build.sources.image(name)
        return build.sources.stage(build.images.chain(record.id), f"image {name}")

    # -- variables

    def expand(self, text: str) -> str:
        return expand(text, self.state.values, self.source.escape)

    def expand_all(self, texts: Sequence[str]) -> list[str]:
        return [self.expand(text) for text in texts]
