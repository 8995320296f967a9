"""The context of a command: roots, engine, project, terminal. Everything is created on first use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from composer.cli.errors import CommandError
from composer.cli.project.settings import Settings
from composer.cli.render.message import warning_line
from engine.paths import RUN_ROOT, STATE_ROOT, Roots

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import TextIO

    from composer.cli.parsing.flags import Args
    from composer.cli.project.cache import Cache, Entry, Translated
    from composer.cli.render.progress import Progress
    from composer.load.options import Loaded, LoadOptions
    from composer.model import Project
    from composer.plan.desired import Desired
    from composer.plan.lock import Lock
    from composer.run.early_fork import EarlyFork
    from composer.run.port import Engine
    from engine.spec.artifact import ArtifactFile
    from engine.spec.image import ImageConfig
    from engine.spec.state import ContainerRecord


class Context:
    """One run of `composer`. `options` are the global flags; `open_engine` is injected by main."""

    def __init__(
        self,
        options: Args,
        *,
        dry_run: bool = False,
        open_engine: Callable[[Roots], Engine],
        environ: Mapping[str, str] | None = None,
        stderr: TextIO | None = None,
        early_fork: EarlyFork | None = None,
    ) -> None:
        self.options, self.dry_run, self._open_engine = options, dry_run, open_engine
        self.environ = os.environ if environ is None else environ
        self.stderr = stderr or sys.stderr
        self.build_log: TextIO | None = None
        """Where the plain lines of builds go; None for stdout, as in docker compose."""
        self.early_fork = early_fork
        self._images: dict[str, ImageConfig | None] = {}
        self._warned: set[str] = set()
        self._streams: dict[str, bytes] = {}
        self.given: set[str] = set()
        """The names of the command's own flags that were given."""
        self.locked = False
        """Whether only what composer.lock pins may be used (--locked)."""
        self.fetched: Loaded | None = None
        """The loaded project, if its first file is remote."""

    @cached_property
    def roots(self) -> Roots:
        given = {STATE_ROOT: self.options.state_root, RUN_ROOT: self.options.run_root}
        environ = {**self.environ, **{name: path for name, path in given.items() if path}}
        return Roots.from_environment(environ, os.geteuid())

    @cached_property
    def engine(self) -> Engine:
        return self._open_engine(self.roots)

    def with_options(self, options: Args) -> Context:
        """A copy of the context with other global flags."""
        return Context(options, open_engine=self._open_engine, environ=self.environ, stderr=self.stderr)

    def new_engine(self) -> Engine:
        """Another engine, for use in another thread."""
        return self._open_engine(self.roots)

    @cached_property
    def settings(self) -> Settings:
        """The settings from flags and COMPOSE_… variables."""
        return Settings(self.options, self.given, self.environ, lambda: self.environment)

    @property
    def ansi(self) -> str:
        return self.settings.ansi

    def progress(self, title: str = "Running", *, quiet: bool = False, log: TextIO | None = None) -> Progress:
        from composer.cli.render.progress_mode import progress_for

        mode = "quiet" if quiet else self.settings.progress(build=title == "Building")
        stream = sys.stdout if self.settings.is_true("COMPOSE_STATUS_STDOUT", project=False) else self.stderr
        return progress_for(mode, self.ansi, stream, self.environ, dry_run=self.dry_run, title=title, log=log)

    def load_options(self) -> LoadOptions:
        options = self._load_options()
        return options.replace(commits=self._lock.files) if self.locked else options

    def _load_options(self) -> LoadOptions:
        from composer.load.options import LoadOptions

        options = self.options
        return LoadOptions(
            files=tuple(options.file),
            project_directory=options.project_directory or options.workdir,
            project_name=options.project_name,
            env_files=tuple(options.env_file),
            profiles=tuple(options.profile),
            environ=self.environ,
            all_resources=bool(options.all_resources),
            defer=True,
            streams=self._streams,
            artifacts=self._artifact,
        )

    def _artifact(self, reference: str, known: Callable[[str], bool]) -> tuple[str, list[ArtifactFile]]:
        """Read compose files from a registry (see `composer.load.read.oci`)."""
        from composer.load.errors import LoadError
        from composer.load.read.oci import EMPTY_CONFIG, PROJECT
        from engine.errors import EngineError
        from engine.spec.artifact import ArtifactKind

        kind = ArtifactKind(PROJECT, EMPTY_CONFIG)
        try:
            return self.engine.artifact(reference, kind, known, insecure=self.options.insecure_registry)
        except EngineError as error:
            raise LoadError(f"cannot fetch oci://{reference}: {error}") from error

    @cached_property
    def lock_path(self) -> str:
        """The path of the project's composer.lock, whether it exists or not."""
        from composer.load.read.sources import home
        from composer.plan.lock import NAME

        return os.path.join(home(self._load_options()), NAME)

    def everything(self, pins: Mapping[str, str]) -> tuple[Desired, dict[str, str]]:
        """The project with all its profiles, and the commits of its remote files, from `pins` if it has them."""
        from composer.load.project import load_tree
        from composer.load.read.pins import assume

        assume(pins)
        options = self._load_options().replace(profiles=("*",))
        loaded = load_tree(options)
        return _translated(loaded, None)[0], loaded.inputs.commits

    @cached_property
    def _lock(self) -> Lock:
        from composer.cli.project.lock import read

        return read(self.lock_path)

    @cached_property
    def project(self) -> Project:
        from composer.load.project import load

        return load(self.load_options())

    @cached_property
    def project_name(self) -> str:
        """-p, COMPOSE_PROJECT_NAME, or the name from the files and their directory, reading no more than necessary."""
        if "desired" in self.__dict__:
            return self.desired.project
        if not self._has_name() and self._remembered:
            return self._remembered.desired.project
        from composer.load.project import project_name

        return project_name(self.load_options())

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables for interpolating the project's files: the environment, then the .env files."""
        from composer.load.options import Inputs
        from composer.load.read.sources import located

        return located(self.load_options(), Inputs(), lambda line: None).environment

    def containers(self) -> list[ContainerRecord]:
        """The project's containers in their current state."""
        return self.engine.containers(self.project_name)

    def image_config(self, image: str) -> ImageConfig | None:
        """The configuration of a container's image; None when the image no longer exists."""
        if image not in self._images:
            record = self.engine.image(image)
            self._images[image] = record.config if record else None
        return self._images[image]

    @cached_property
    def desired(self) -> Desired:
        """The desired state of the project, from the cache if nothing has changed."""
        return self._desired(self.load_options(), self._remembered)

    @cached_property
    def _remembered(self) -> Entry | None:
        """The cache's entry for the requested project."""
        return self._cache(self.load_options()).find()

    @cached_property
    def desired_or_none(self) -> Desired | None:
        """The same; None when only the project's name is given and there is no file."""
        from composer.load.errors import LoadError

        try:
            return self.desired
        except LoadError as error:
            from composer.load.project import project_name
            from composer.load.read.sources import NoFileError

            if not isinstance(error, NoFileError):
                raise
            project_name(self.load_options())  # without a name, this raises the same error
            return None

    @property
    def whole_project(self) -> bool:
        """Whether commands without services act on all containers, and not on those of the enabled services: -p without
        -f, as in docker compose."""
        return bool(self.options.project_name) and not self.options.file

    def _has_name(self) -> bool:
        return bool(self.options.project_name or self.environ.get("COMPOSE_PROJECT_NAME"))

    def _desired(self, options: LoadOptions, remembered: Entry | None) -> Desired:
        entry = remembered or self._load(options, self._cache(options))
        self._warn(entry.warnings)
        if not self.locked:
            return entry.desired
        from composer.plan.lock import locked

        return locked(entry.desired, self._lock)

    def _cache(self, options: LoadOptions) -> Cache:
        from composer.cli.project.cache import Cache

        return Cache(f"{self.roots.cache}/projects", options)

    def _load(self, options: LoadOptions, cache: Cache) -> Entry:
        """Read the files, and cache the result."""
        import engine.spec  # noqa: F401  (first, for the sake of what msgspec imports)
        from composer.cli.project.cache import Entry, now

        # isort: split
        from composer.load.project import load_tree

        begun = now()
        loaded = load_tree(options)
        self.fetched = loaded if loaded.inputs.remote else None
        desired, translated = cache.translated(loaded) or _translated(loaded, cache.last)
        files = {**loaded.inputs.files, **translated.files}
        variables = {name: options.environ.get(name) for name in (*loaded.inputs.variables, *translated.variables)}
        entry = Entry(
            key=cache.key,
            desired=_annotated(desired, loaded, translated),
            written=begun,
            files=files,
            variables=variables,
            warnings=[str(line) for line in loaded.warnings],
            translated=translated,
        )
        if not loaded.inputs.volatile:
            cache.put(entry)
        return entry

    def _warn(self, lines: Iterable[str]) -> None:
        """Print each line once per command."""
        for line in lines:
            if line not in self._warned:
                self._warned.add(line)
                self.stderr.write(warning_line(line, self.settings.progress(build=False)))
                self.stderr.flush()

    def warn(self, line: str) -> None:
        """Print a warning, once per command."""
        self._warn([line])

    def declared_services(self) -> set[str] | None:
        """The project's services, enabled or not; None when only its name is given and there is no file."""
        desired = self.desired_or_none
        return set(desired.known) if desired else None

    def check_services(self, services: Iterable[str], *, among_containers: bool = False, enable: bool = True) -> None:
        """Raises CommandError for a service that neither the project nor, with `among_containers`, any container has,
        and suggests the nearest name. With `enable`, services that their profiles disable are enabled."""
        services = list(services)
        if not services:
            return
        self.check_jobs(services)
        known = self.declared_services()
        if known is None:
            from composer.plan.labels import service_of

            known = {service_of(record) for record in self.containers()}
        if among_containers and not known.issuperset(services):
            from composer.plan.labels import service_of

            known |= {service_of(record) for record in self.containers()}
        for service in services:
            if service not in known:
                raise CommandError(f"no such service: {service}{nearest(service, known)}")
        if enable:
            self._enable(services)

    def check_jobs(self, services: Iterable[str]) -> None:
        """Raises CommandError for the name of a job: only `run` accepts one."""
        desired = self.desired_or_none
        for name in services if desired else ():
            if desired and (name in desired.jobs or name in desired.disabled_jobs):
                raise CommandError(f'job "{name}" can only be triggered with "composer run"')

    def with_job(self, name: str) -> Desired | None:
        """The project with this job enabled as one of its services, for `run`; None if it has no such job."""
        desired = self.desired_or_none
        if desired is None or not (name in desired.jobs or name in desired.disabled_jobs):
            return None
        if name in desired.disabled_jobs:
            options = self.load_options()
            options = options.replace(profiles=(*options.profiles, *desired.disabled_jobs[name]))
            desired = self._desired(options, self._cache(options).find())
        from composer.plan.jobs import JobRefused, with_job

        try:
            self.desired = self.desired_or_none = with_job(desired, name)
        except JobRefused as error:
            raise CommandError(str(error)) from None
        return self.desired

    def check_shown(self, services: Iterable[str]) -> None:
        """Like `check_services`, for commands that only display. As with docker compose, a project that is given by name is
        shown without reading its files, even if they have errors. Runs of jobs are not services."""
        if self._has_name() and not self.options.file:
            from composer.plan.labels import is_job_run, service_of

            shown = {service_of(record) for record in self.containers() if not is_job_run(record)}
            if shown.issuperset(services):
                return
        self.check_services(services, among_containers=True)

    def _enable(self, services: list[str]) -> None:
        """Naming a service on the command line enables it, regardless of its profiles."""
        desired = self.desired_or_none
        if desired is None or all(name in desired.services or name not in desired.known for name in services):
            return
        options = self.load_options().replace(services=tuple(services))
        self.desired = self.desired_or_none = self._desired(options, self._cache(options).find())


def _translated(loaded: Loaded, last: Entry | None) -> tuple[Desired, Translated]:
    """Translate the files to engine terms. `last` is the cached entry of an earlier state of the files."""
    from composer.cli.project.cache import Translated, content_of
    from composer.load.stamp import stamp
    from composer.model import Project
    from composer.plan.translate import inputs, translation

    project = Project.from_loaded(loaded)
    desired, problems = translation(project, last.desired if last else None)
    return desired, Translated(
        content=content_of(loaded),
        problems=problems,
        files={path: stamp(path) for path in inputs.files(project)},
        variables={name: loaded.environment.get(name) for name in inputs.variables(project)},
    )


def _annotated(desired: Desired, loaded: Loaded, translated: Translated) -> Desired:
    """The translation, with problems and warnings at their current positions in the files."""
    from msgspec import structs

    from composer.load.check.host_access import wishes
    from composer.load.check.no_effect import effects
    from composer.load.notice import NO_EFFECT, silenced
    from composer.plan.problems import placed

    desired = placed(
        desired,
        translated.problems,
        loaded.where,
        refused=loaded.refused,
        clashes=loaded.clashes,
        warnings=effects(loaded.tree),
    )
    desired = structs.replace(desired, foreign=wishes(loaded.tree, frozenset(loaded.inputs.fetched)))
    return desired.quiet() if NO_EFFECT in silenced(loaded.tree, loaded.environment) else desired


def nearest(word: str, known: Iterable[str]) -> str:
    """`: did you mean …?` if a known word is similar."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), 1)
    return f": did you mean {near[0]}?" if near else ""
