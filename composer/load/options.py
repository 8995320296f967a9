"""The options of loading and its result."""

from __future__ import annotations

from composer.load.stamp import stamp
from composer.load.tree.nodes import Map, Origin, dotted, origin_at

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from composer.load.read.interpolation.expressions import Variable
    from composer.load.read.oci import Artifacts
    from composer.load.stamp import Stamp
    from composer.load.tree.nodes import Path


class LoadOptions:
    """What to load, and which stages to run. The defaults are docker compose's; relative paths start at the process's
    working directory.

    files                 -f, in order; "-" is standard input. Empty: COMPOSE_FILE, then the default names here and above
    project_directory     --project-directory. Empty: the folder of the first file
    project_name          -p. Empty: COMPOSE_PROJECT_NAME, `name:`, the folder's name
    env_files             --env-file, in order, later over earlier. Empty: COMPOSE_ENV_FILES, then .env
    profiles              --profile; "*" is all of them. Empty: COMPOSE_PROFILES
    environ               the command's environment, before any .env file
    services              only these, with their dependencies; their profiles count as enabled
    interpolate, normalize, resolve_paths, consistency: the stages that `config --no-…` skips
    resolve_environment   read env_file into environment
    validate              check keys and values against the specification
    all_resources         keep networks, volumes, configs and secrets that no active service uses
    streams               "-" or the path of a pipe → its content: a pipe can be read once, a project can be loaded twice
    artifacts             reads compose files from registries; None where that is not possible
    commits               the allowed states of remote files, as in Inputs.commits; None: any
    defer                 record errors that concern single services (Loaded.refused, Loaded.clashes) instead of raising them
    """

    __slots__ = (
        "all_resources",
        "artifacts",
        "commits",
        "consistency",
        "defer",
        "env_files",
        "environ",
        "files",
        "interpolate",
        "normalize",
        "profiles",
        "project_directory",
        "project_name",
        "resolve_environment",
        "resolve_paths",
        "services",
        "streams",
        "validate",
    )

    def __init__(
        self,
        *,
        files: tuple[str, ...] = (),
        project_directory: str = "",
        project_name: str = "",
        env_files: tuple[str, ...] = (),
        profiles: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
        services: tuple[str, ...] = (),
        interpolate: bool = True,
        normalize: bool = True,
        resolve_paths: bool = True,
        consistency: bool = True,
        resolve_environment: bool = True,
        validate: bool = True,
        all_resources: bool = False,
        defer: bool = False,
        streams: dict[str, bytes] | None = None,
        artifacts: Artifacts | None = None,
        commits: Mapping[str, str] | None = None,
    ) -> None:
        self.files, self.env_files, self.profiles, self.services = files, env_files, profiles, services
        self.project_directory, self.project_name = project_directory, project_name
        self.environ: Mapping[str, str] = {} if environ is None else environ
        self.interpolate, self.normalize, self.resolve_paths = interpolate, normalize, resolve_paths
        self.consistency, self.resolve_environment, self.validate = consistency, resolve_environment, validate
        self.all_resources, self.defer, self.commits = all_resources, defer, commits
        self.streams: dict[str, bytes] = {} if streams is None else streams
        self.artifacts = artifacts

    def replace(self, **changes: Any) -> LoadOptions:
        """A copy with some options changed."""
        return LoadOptions(**{name: getattr(self, name) for name in self.__slots__} | changes)


class Use:
    """One use of a variable: `path` and `origin` of the value that contains it, and the variable's value (None: not
    set)."""

    __slots__ = ("origin", "path", "value", "variable")

    def __init__(self, variable: Variable, path: Path, origin: Origin | None, value: str | None) -> None:
        self.variable, self.path, self.origin, self.value = variable, path, origin, value


class Inputs:
    """The inputs of a loaded project. While none of them changes, the project does not change.

    files                 absolute path → (size, mtime in ns, inode), None for a file that was looked for and does not exist
    variables             name → value of the environment variables read, None for one that was not set
    uses                  where the files use variables
    set_at                name → position in a .env file, of the variables that are not in the command's environment
    fetched               folders of the files fetched from repositories and registries
    commits               for files fetched by branch or tag: REMOTE[#REF] → commit, oci://REFERENCE → digest
    locked                the states that may be fetched (LoadOptions.commits)
    remote                the project's first file as the user named it, if it is remote; else ""
    volatile              whether a file was standard input or a pipe, so that it cannot be compared
    """

    __slots__ = ("commits", "fetched", "files", "locked", "remote", "set_at", "uses", "variables", "volatile")

    def __init__(self) -> None:
        self.files: dict[str, Stamp | None] = {}
        self.variables: dict[str, str | None] = {}
        self.uses: list[Use] = []
        self.set_at: dict[str, Origin] = {}
        self.fetched: set[str] = set()
        self.remote = ""
        self.commits: dict[str, str] = {}
        self.locked: Mapping[str, str] | None = None
        self.volatile = False

    def note(self, path: str) -> None:
        """Record the state of a file. Call it before reading the file."""
        self.files[path] = stamp(path)


class Environment(dict[str, str]):
    """The variables for interpolation; it records which of them are read."""

    __slots__ = ("_used",)

    def __init__(self, variables: Mapping[str, str], inputs: Inputs) -> None:
        super().__init__(variables)
        self._used = inputs.variables

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        value = super().get(name)
        self._used[name] = value
        return default if value is None else value

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        if not found and isinstance(name, str):
            self._used[name] = None
        return found

    def __getitem__(self, name: str) -> str:
        value = super().__getitem__(name)
        self._used[name] = value
        return value


class Loaded:
    """A project's canonical tree and where it came from.

    name                  the project's name
    working_dir           the project directory, absolute
    compose_files         the -f files or default ones, absolute
    tree                  what `docker compose config --format json` prints, and models and x-… keys; entries with their origins
    contents              (secrets or configs, name) → text, where only an included project's environment has the variable
    disabled              services that no active profile enables, in canonical form
    disabled_jobs         jobs that no active profile enables
    environment           the variables of interpolation: the command's environment and .env files
    profiles              the active ones
    warnings              lines for standard error, in order
    inputs                the inputs of the project
    hashes                enabled service → its configuration hash
    refused               service → the reasons why it cannot be created, such as a missing env file
    clashes               service → other service → why the two exclude each other, such as the same container name
    """

    __slots__ = (
        "clashes",
        "compose_files",
        "contents",
        "disabled",
        "disabled_jobs",
        "environment",
        "hashes",
        "inputs",
        "name",
        "profiles",
        "refused",
        "tree",
        "warnings",
        "working_dir",
    )

    def __init__(self, *, name: str, working_dir: str, compose_files: tuple[str, ...], tree: Map) -> None:
        self.name, self.working_dir, self.compose_files, self.tree = name, working_dir, compose_files, tree
        self.disabled, self.disabled_jobs = Map(), Map()
        self.contents: dict[tuple[str, str], str] = {}
        self.environment: dict[str, str] = {}
        self.profiles: tuple[str, ...] = ()
        self.warnings: list[str] = []
        self.inputs = Inputs()
        self.hashes: dict[str, str] = {}
        self.refused: dict[str, tuple[str, ...]] = {}
        self.clashes: dict[str, dict[str, str]] = {}

    def origin(self, path: Path) -> Origin | None:
        """The origin of the entry at `path`, or of the nearest entry above that has one."""
        return origin_at(self.tree, path)

    def where(self, path: Path) -> str:
        """`file:line:column` of the entry at `path`, or the path itself if it has no origin."""
        return str(self.origin(path) or dotted(path))
