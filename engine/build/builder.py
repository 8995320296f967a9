"""A build from its specification to the recorded image; `run` shows the steps in order."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from engine import quantities, temporary_directory
from engine.bounded_read import MIB, read_bytes
from engine.build import digests, remote_context, reproducible, schedule
from engine.build import instructions as ins
from engine.build.attest.facts import Facts, facts
from engine.build.cache import BuildCache
from engine.build.cache_exchange.entry import parse as parse_entry
from engine.build.check import check, described
from engine.build.execute import LateSteps, RunStep
from engine.build.lex import Source, lex
from engine.build.parse import parse
from engine.build.progress import Reporter, Sink
from engine.build.sources import IMAGE_SCHEME, Pull, Sources
from engine.build.stage import Build, StageRun
from engine.build.stages import PREDEFINED, Dockerfile, Stage, arrange, check_names, order
from engine.build.state import State, from_image, scratch
from engine.errors import BadReference, BuildFailed, NotFound, OperationFailed, RegistryError, Unsupported
from engine.ignore import Ignore
from engine.image import gc, lease, platform, rubbish
from engine.image.blobs import digest_of
from engine.image.config import environment
from engine.image.images import ImageStore
from engine.image.usage import CacheRecord
from engine.spec.image import BuildSpec, BuildWarning, ImageConfig, ImageRecord
from engine.spec.outline import Outline, Targets

INLINE = "BUILDKIT_INLINE_CACHE"
"""The build argument that means cache_to: type=inline."""
KEEP_CACHE = 10 << 30
"""Bytes of layers that only the build cache keeps, unless COMPOSER_BUILD_CACHE says otherwise."""


Finished = tuple[Mapping[str, CacheRecord], list[str]]
"""The records of a finished build's steps, and its image's layers."""


class Builder:
    """One build for one platform, the first of the specification's; see `engine.build.build`. `title` names the build in
    its steps."""

    def __init__(
        self,
        spec: BuildSpec,
        images: ImageStore,
        run: RunStep,
        pull: Pull | None,
        progress: Sink | None,
        title: str = "",
        finished: list[Finished] | None = None,
        explain: Callable[[Facts], None] | None = None,
    ) -> None:
        self.spec, self.images, self.run_step, self.pull = spec, images, run, pull
        self.reporter = Reporter(progress, title)
        self.platform = platform.parse(spec.platforms[0]) if spec.platforms else platform.host()
        self.epoch: int | None = None
        self.cache_from = [parse_entry(text, export=False) for text in spec.cache_from]
        self.cache_to = [parse_entry(text, export=True) for text in spec.cache_to]
        self._attests = bool(spec.annotations or spec.provenance or spec.sbom)
        if self._attests:
            from engine.build.attest import statements

            statements.check(spec)
        self._finished = [] if finished is None else finished
        """From the builds for other platforms before this one; the exported cache includes them."""
        self._explain = explain
        """Called with what the provenance of the image consists of."""
        self._materials: dict[str, dict[str, str]] = {}
        self._remote = ""
        self._started = time.time()
        self._last_stage: list[str] = []

    def run(self) -> ImageRecord:
        with self.context():
            return self._build()

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Fetch a remote context; it is removed after the build."""
        with contextlib.ExitStack() as stack:
            sources = Sources(self.spec, self.images, stack, self.pull)
            self.spec = remote_context.local(self.spec, sources)
            self._materials, self._remote = sources.materials, sources.remote
            yield

    def _build(self) -> ImageRecord:
        budget = cache_budget(os.environ)
        instructions, dockerfile = self.arranged()
        build_args = self.build_args()
        try:
            self.epoch = reproducible.epoch_of(build_args, self.spec.environ)
        except ValueError as error:
            raise BuildFailed(str(error)) from error
        target = self.target(dockerfile)
        stages = order(dockerfile, target)
        self._warn(dockerfile, instructions, stages)
        check_names(dockerfile)
        with lease.adding(self.images.store.roots), contextlib.ExitStack() as stack:
            sources = Sources(self.spec, self.images, stack, self.pull)
            sources.materials, sources.remote = self._materials, self._remote
            build = self._prepared(dockerfile, stages, sources, build_args)
            build.execute = lambda build, stage: StageRun(build, stage, self._base(build, stage)).execute()
            schedule.run(
                build, stages, lambda images, stack: build.fork(images, sources.fork(images, stack)), build.execute
            )
            state = build.states[target.index]
            record = self._export(build, target, state)
            if self._explain is not None:
                self._explain(facts(build, target, self.platform, self._started))
            if self.cache_to:
                from engine.build.cache_exchange import exporting

                made = [*self._finished, (build.records, state.chain)]
                exporting.export(self.images, self.cache_to, made, self.reporter)
            self._finished.append((build.records, state.chain))
        if self.reporter.made:
            self._clean_up(budget)
        return record

    def _clean_up(self, budget: int) -> None:
        """Remove what the build replaced, and what exceeds the cache's size."""
        gc.replaced(self.images)
        trim(self.images, budget, later=True)
        rubbish.start_sweeping(self.images.layers.root)
        digests.sweep(self.images.store.roots.builds)
        temporary_directory.sweep(self.images.store.roots.builds)

    def _prepared(
        self, dockerfile: Dockerfile, stages: Sequence[Stage], sources: Sources, build_args: Mapping[str, str]
    ) -> Build:
        """The build of these stages, with the caches to import. RUN steps are prepared as soon as one is known to run."""
        build = Build(
            self.spec,
            dockerfile,
            self.images,
            sources,
            self.run_step,
            self.reporter,
            build_args,
            self.platform_args(),
        )
        if self.cache_from and self.spec.pins is not None:
            self.reporter.step("internal", "importing caches").warn("a locked build does not use cache_from")
        elif self.cache_from:
            from engine.build.cache_exchange.importing import Imports  # late: with a client for registries

            build.imports = Imports(self.images, self.cache_from, self.reporter)
        runs = any(isinstance(one, ins.Run) for stage in stages for one in stage.body)
        if runs and isinstance(self.run_step, LateSteps):
            build.prepare = self.run_step.prepare
        return build

    def check(self) -> list[BuildWarning]:
        """The problems of the Dockerfile, each with its lines. Nothing is built."""
        with self.context():
            return self._checked()

    def _checked(self) -> list[BuildWarning]:
        instructions, dockerfile = self.arranged()
        source = dockerfile.source
        self.target(dockerfile)
        found, _ = check(dockerfile, instructions, self._environment, self._ignore())
        inline = self.spec.dockerfile_inline is not None
        name = source.name if inline else os.path.join(self.spec.context, source.name)
        return [described(source, warning, name) for warning in found]

    def outline(self) -> Outline:
        """The inputs that the target accepts. Nothing is built."""
        from engine.build.outline import outline

        with self.context():
            instructions, dockerfile = self.arranged()
            return outline(dockerfile, instructions, self.target(dockerfile), self.build_args(), self._environment)

    def targets(self) -> Targets:
        """The Dockerfile's stages. Nothing is built."""
        from engine.build.outline import targets

        with self.context():
            source = self._read()
            return targets(source, parse(source))

    def arranged(self) -> tuple[list[ins.AnyInstruction], Dockerfile]:
        """Read and parse the Dockerfile. Raises BuildFailed."""
        source = self._read()
        instructions = parse(source)
        self._last_stage = [one.name for one in instructions if isinstance(one, ins.From)][-1:]
        arguments = self.build_args(), self.platform_args()
        return instructions, arrange(source, instructions, *arguments, self._contexts())

    def _warn(self, dockerfile: Dockerfile, instructions: list[ins.AnyInstruction], stages: list[Stage]) -> None:
        """Check as part of a build. Raises BuildFailed with `# check=error=true`."""
        found, error = check(dockerfile, instructions, self._environment, self._ignore(), stages)
        if not found:
            return
        step = self.reporter.step("internal", f"load build definition from {dockerfile.source.name}")
        for warning in found:
            step.warn(f"{warning.rule.name}: {warning.text} (line {warning.start})")
        step.done()
        if error:
            names = ", ".join(dict.fromkeys(warning.rule.name for warning in found))
            hint = "composer build --check shows them; `# check=error=true` makes them errors."
            raise BuildFailed(f"{dockerfile.source.name}: lint violation found for rules: {names}", hint=hint)

    def _environment(self, image: str) -> Mapping[str, str] | None:
        """A base image's variables, when it is in the store."""
        named = self.spec.additional_contexts.get(image, "")
        try:
            record = self.images.get(named.removeprefix(IMAGE_SCHEME) or image)
        except BadReference:
            return None
        return environment(record.config.environment) if record else None

    def _ignore(self) -> Ignore:
        try:
            root = os.open(self.spec.context, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return Ignore(())
        try:
            return Sources(self.spec, self.images, contextlib.ExitStack(), None).ignore(root, "")
        finally:
            os.close(root)

    def _contexts(self) -> list[str]:
        return [name.lower() for name in self.spec.additional_contexts]

    def _read(self) -> Source:
        if self.spec.dockerfile_inline is not None:
            name = "dockerfile_inline" if self.spec.dockerfile == "Dockerfile" else self.spec.dockerfile
            return lex(self.spec.dockerfile_inline, name)
        path = os.path.join(self.spec.context, self.spec.dockerfile)
        if self.spec.dockerfile == "Dockerfile" and not os.path.lexists(path):
            lower = os.path.join(self.spec.context, "dockerfile")
            path = lower if os.path.exists(lower) else path
        try:
            return lex(read_bytes(path, 16 * MIB, "a Dockerfile").decode(), self.spec.dockerfile)
        except FileNotFoundError as error:
            missing = self.spec.context if not os.path.isdir(self.spec.context) else path
            subject = "build context" if missing == self.spec.context else "Dockerfile"
            raise BuildFailed(f"the {subject} {missing} does not exist") from error
        except UnicodeDecodeError as error:
            raise BuildFailed(f"the Dockerfile {path} is not UTF-8 text: {error}") from error
        except OSError as error:
            raise OperationFailed.of("read Dockerfile", path, error) from error

    def build_args(self) -> dict[str, str]:
        """The given arguments; one without a value takes it from the environment, or is not given."""
        found: dict[str, str] = {}
        for name, value in self.spec.args.items():
            if value is None:
                value = self.spec.environ.get(name)
            if value is not None:
                found[name] = value
        return found

    def platform_args(self) -> dict[str, str]:
        """The automatic arguments of the global scope (Dockerfile reference), once the Dockerfile is `arranged`."""
        found: dict[str, str] = {}
        for prefix, one in (("TARGET", self.platform), ("BUILD", platform.host())):
            found[f"{prefix}PLATFORM"] = str(one)
            found[f"{prefix}OS"] = one.os
            found[f"{prefix}ARCH"] = one.architecture
            found[f"{prefix}VARIANT"] = one.variant
        found["TARGETSTAGE"] = self.spec.target or "".join(self._last_stage) or "default"
        return found

    def target(self, dockerfile: Dockerfile) -> Stage:
        if not self.spec.target:
            return dockerfile.stages[-1]
        found = dockerfile.find(self.spec.target)
        if found is None:
            names = ", ".join(stage.name for stage in dockerfile.stages if stage.name)
            raise BuildFailed(
                f"target stage {self.spec.target!r} could not be found in {dockerfile.source.name}",
                hint=f"It has {names}." if names else "No stage has a name.",
            )
        return found

    def _base(self, build: Build, stage: Stage) -> State:
        """The state in which FROM starts the stage. A context in place of a stage keeps its own configuration."""
        source = build.dockerfile.source
        wanted = platform.parse(stage.platform) if stage.platform else self.platform
        empty = scratch(wanted, self.epoch)
        run = StageRun(build, stage, empty)
        name = stage.image
        if stage.base is not None:
            return build.states[stage.base].copy()
        if name == "scratch":
            return empty
        if named := build.sources.named(name):
            if not named.startswith(IMAGE_SCHEME):
                run.begin(build.sources.named_directory(name))
                if stage.replaced:
                    empty.config = ImageConfig()
                return empty
            name = named.removeprefix(IMAGE_SCHEME)
        step = build.reporter.step(run.place(), stage.origin.text)
        foreign = bool(stage.platform) or not platform.host().runs(wanted)
        try:
            record = build.sources.image(name, str(wanted) if foreign else "")
        except (NotFound, RegistryError) as error:
            if not foreign or (other := build.images.get(name)) is None:
                raise
            raise Unsupported(
                f"{source.name}:{stage.origin.start}: the local image {name} is for {other.os}/{other.architecture},"
                f" not for {wanted}, and it cannot be pulled: {error.message}",
                hint="Load or pull it for that platform first.",
            ) from error
        step.done()
        state = from_image(build.images, record, self.epoch)
        if stage.replaced:
            state.config = record.config
        return state

    def _export(self, build: Build, target: Stage, state: State) -> ImageRecord:
        """Record the image, and which cache entries were useful; warn of unused arguments."""
        build.cache.touch(build.used_keys)
        unused = sorted(
            set(build.build_args)
            - build.used_args
            - PREDEFINED
            - {reproducible.NAME, INLINE}
            - set(build.dockerfile.global_args)
        )
        step = self.reporter.step("internal", "exporting to image")
        if unused:
            step.warn(f"one or more build-args were not consumed: {', '.join(unused)}")
        record = self._record(build, target, state)
        step.note(f"writing image {record.id} done")
        for tag in self.spec.tags:
            step.note(f"naming to {tag} done")
        step.done()
        return record

    def _record(self, build: Build, target: Stage, state: State) -> ImageRecord:
        diff_ids = [layer.diff_id for layer in self.images.layers.need(state.chain)]
        inlined = any(entry.type == "inline" for entry in self.cache_to) or self.spec.args.get(INLINE) in ("1", "true")
        cache = b""
        if inlined:
            from engine.build.cache_exchange.exporting import inline

            cache = inline(build.records, state.chain)
        file = state.file(diff_ids, self.spec.labels, cache)
        if self._attests:
            self._attach(build, target, file)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.images.store.roots.attached(digest_of(file)))
        return self.images.record(file, state.chain, tags=self.spec.tags, replaces=True, built=True)

    def _attach(self, build: Build, target: Stage, file: bytes) -> None:
        """Annotations and attestations. A scanner must see the image before the image gets its tags."""
        from engine.build.attest import statements
        from engine.image import attached

        there = self.images.get(digest_of(file)) is not None
        image = self.images.record(file, build.states[target.index].chain, built=True)
        try:
            extras = statements.attached(build, target, self.platform, image, self._started, self._nested)
        except BaseException:
            if not there:
                self.images.remove(image.id)
            raise
        attached.write(self.images.store.roots, image.id, extras)

    def _nested(self, spec: BuildSpec) -> ImageRecord:
        """Build something else that this build needs."""
        return Builder(spec, self.images, self.run_step, self.pull, self.reporter.sink, "sbom").run()


def cache_budget(environ: Mapping[str, str]) -> int:
    """The maximum size of the build cache in bytes: COMPOSER_BUILD_CACHE, such as 20g. Raises BuildFailed."""
    text = environ.get("COMPOSER_BUILD_CACHE", "")
    try:
        return quantities.size(text) if text else KEEP_CACHE
    except ValueError as error:
        raise BuildFailed(f"COMPOSER_BUILD_CACHE: {error}") from None


def trim(images: ImageStore, keep_bytes: int = KEEP_CACHE, *, later: bool = False) -> None:
    """Keep the build cache within `keep_bytes`; excess layers are removed at once, or
    become rubbish with `later`, unless layers are being added."""
    if BuildCache(images.store).trim(keep_bytes):
        gc.collect(images, later=later)
