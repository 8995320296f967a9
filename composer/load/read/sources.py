"""Locate a project: its files, folder, environment and name, in Compose's order of precedence."""

from __future__ import annotations

import os

from composer.load.errors import LoadError
from composer.load.notice import UNSET, Notice
from composer.load.options import Environment, Inputs
from composer.load.project_name import normalised
from composer.load.read.remote import PREFIXES, fetched

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from composer.load.options import LoadOptions
    from composer.load.tree.nodes import Origin

FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
STDIN = "-"


class NoFileError(LoadError):
    """No compose file was specified, and none was found."""


class Sources:
    """The sources of a project.

    files                 absolute, or "-"; empty when there is none
    folder                the project directory, absolute
    place                 the folder that the default name and .env come from: the project directory, or the working directory
                          when the first file is remote
    environment           the variables for interpolation: those of the command win over .env files
    profiles              the active profiles
    """

    __slots__ = ("environment", "files", "folder", "place", "profiles")

    def __init__(
        self,
        files: tuple[str, ...],
        folder: str,
        place: str,
        environment: dict[str, str],
        profiles: tuple[str, ...],
    ) -> None:
        self.files, self.folder, self.place = files, folder, place
        self.environment, self.profiles = environment, profiles


def located(options: LoadOptions, inputs: Inputs, warn: Callable[[str], None]) -> Sources:
    """Locate a project. Raises LoadError when a named file does not exist."""
    environ = dict(options.environ)
    environ.setdefault("PWD", os.getcwd())
    inputs.locked = options.commits
    files = tuple(options.files)
    given = os.path.abspath(options.project_directory) if options.project_directory else ""
    named_env = _named_env(options)
    _dot_env(environ, named_env, _place(given, files), inputs, warn)
    if not files:
        files = _from_environment(environ) or _default(_place(given, files), inputs, warn)
        _dot_env(environ, named_env, _place(given, files), inputs, warn)
    place = _place(given, files)
    inputs.remote = files[0] if files and is_remote(files[0]) else ""
    files = tuple(path if path == STDIN else os.path.abspath(local(path, environ, options, inputs)) for path in files)
    # without any, the profile with the empty name is active: `profiles: ["${UNSET}"]` enables a service
    profiles = tuple(options.profiles) or _split(environ.get("COMPOSE_PROFILES", "")) or ("",)
    return Sources(files, _folder(given, files), place, environ, profiles)


def home(options: LoadOptions) -> str:
    """The folder of files that belong to the project, such as composer.lock: the project directory, or the working
    directory when the first compose file is remote. It is known before anything is fetched."""
    if options.project_directory:
        return os.path.abspath(options.project_directory)
    files = tuple(options.files)
    if not files:
        environ = dict(options.environ)
        _dot_env(environ, _named_env(options), os.getcwd(), Inputs(), lambda line: None)
        named = environ.get("COMPOSE_FILE", "")
        files = tuple(named.split(environ.get("COMPOSE_PATH_SEPARATOR") or os.pathsep)) if named else ()
    files = files or _default(os.getcwd(), Inputs(), lambda line: None)
    local_files = [path for path in files[:1] if path != STDIN and not is_remote(path)]
    return os.path.dirname(os.path.abspath(local_files[0])) if local_files else os.getcwd()


def _named_env(options: LoadOptions) -> tuple[str, ...]:
    """The files of --env-file, else of COMPOSE_ENV_FILES. A leading ~ means the home folder."""
    given = tuple(options.env_files) or tuple(filter(None, options.environ.get("COMPOSE_ENV_FILES", "").split(",")))
    home = options.environ.get("HOME", "")
    return tuple(
        os.path.abspath(f"{home}{path[1:]}" if home and (path == "~" or path.startswith("~/")) else path)
        for path in given
    )


def env_files(options: LoadOptions) -> tuple[str, ...]:
    """The .env files of a project, whether they exist or not; none when .env files are disabled."""
    named = _named_env(options)
    if named:
        return named
    if _disabled(dict(options.environ)):
        return ()
    found = located(options, Inputs(), lambda line: None)
    return (os.path.join(found.place, ".env"),)


def _folder(given: str, files: tuple[str, ...]) -> str:
    """The project directory: the given one, else the folder of the first file, else the working directory."""
    if given:
        return given
    for path in files:
        if path != STDIN:
            return os.path.dirname(os.path.abspath(path))
    return os.getcwd()


def _place(given: str, files: tuple[str, ...]) -> str:
    """The same before anything is fetched, when remote files have no folder yet."""
    first = next((path for path in files if path != STDIN), "")
    return given or (os.getcwd() if is_remote(first) else _folder(given, files))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in text.split(",")) if part)


def _from_environment(environ: dict[str, str]) -> tuple[str, ...]:
    named = environ.get("COMPOSE_FILE", "")
    if not named:
        return ()
    separator = environ.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    return tuple(named.split(separator))


def _default(folder: str, inputs: Inputs, warn: Callable[[str], None]) -> tuple[str, ...]:
    """The default file (compose.yaml and its variants) here or in the nearest folder above, and its override file."""
    while True:
        found = _existing(FILE_NAMES, folder, inputs)
        if found:
            if len(found) > 1:
                warn(f"Found multiple config files with supported names: {', '.join(found)}")
                warn(f"Using {found[0]}")
            overrides = _existing(OVERRIDE_NAMES, folder, inputs)
            if len(overrides) > 1:
                warn(f"Found multiple override files with supported names: {', '.join(overrides)}")
                warn(f"Using {overrides[0]}")
            return (found[0], *overrides[:1])
        parent = os.path.dirname(folder)
        if parent == folder:
            return ()
        folder = parent


def _existing(names: tuple[str, ...], folder: str, inputs: Inputs) -> list[str]:
    paths = [os.path.join(folder, name) for name in names]
    for path in paths:
        inputs.note(path)
    return [path for path in paths if os.path.exists(path)]


def _dot_env(
    environ: dict[str, str], named: tuple[str, ...], folder: str, inputs: Inputs, warn: Callable[[str], None]
) -> None:
    """Add the variables of the .env files that the environment does not have."""
    files = named
    if not files:
        if _disabled(environ):
            return
        path = os.path.join(folder, ".env")
        inputs.note(path)
        if not os.path.isfile(path):
            return
        files = (path,)
    found = read_env_files(files, environ, inputs, warn)
    if not named and _disabled(
        {**found, **environ}
    ):  # as in Docker Compose, it still gives the program's own variables
        found = {name: value for name, value in found.items() if name.startswith("COMPOSE_")}
    for name, value in found.items():
        environ.setdefault(name, value)


def _disabled(environ: dict[str, str]) -> bool:
    value = environ.get("COMPOSE_DISABLE_ENV_FILE")
    if value is None:
        return False
    if value in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if value in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise LoadError(f"COMPOSE_DISABLE_ENV_FILE is {value!r}; it takes true or false")


def read_env_files(
    files: tuple[str, ...], environ: dict[str, str], inputs: Inputs, warn: Callable[[str], None]
) -> dict[str, str]:
    """The variables of .env files; later files win. Values may refer to `environ` and to earlier variables."""
    from composer.load.read import dotenv  # many projects have none, and its patterns take a millisecond

    found: dict[str, str] = {}
    known = Environment(environ, inputs)

    def missing(name: str) -> None:
        warn(Notice(f'The "{name}" variable is not set. Defaulting to a blank string.', UNSET))

    for path in files:
        inputs.note(path)
        if os.path.isdir(path):
            raise LoadError(f"{path} is a directory, not an env file")
        try:
            places = dotenv.read(path, found, known, missing)
        except FileNotFoundError as error:
            raise LoadError(f"couldn't find env file: {path}") from error
        except OSError as error:
            raise LoadError(f"couldn't read env file {path}: {(error.strerror or str(error)).lower()}") from error
        inputs.set_at |= {name: place for name, place in places.items() if name not in environ}
    return found


def local(
    path: str, environ: Mapping[str, str], options: LoadOptions, inputs: Inputs, origin: Origin | None = None
) -> str:
    """The path itself, or for a remote file the path of its local copy. Raises LoadError when it cannot be fetched."""
    if not is_remote(path):
        return path
    inputs.volatile = True  # a branch or tag may have moved by the next time
    return fetched(path, environ, FILE_NAMES, options.artifacts, inputs, origin)


def is_remote(path: str) -> bool:
    """Whether the path names a file in a Git repository or a registry."""
    return path.startswith(PREFIXES)


def checked_name(name: str) -> str:
    """The name itself. Raises LoadError when it is not a valid project name."""
    if normalised(name) != name:
        raise LoadError(
            f'invalid project name "{name}": must consist only of lowercase alphanumeric characters, hyphens, and '
            "underscores as well as start with a letter or number",
            None,
            f"such as {normalised(name)!r}" if normalised(name) else "",
        )
    return name
