"""COMPOSE_… variables with the meaning of flags: from the environment, then from the project's .env files. Flags take
precedence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from composer.cli.errors import UsageError
from composer.cli.parsing.options import check_progress

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args

TRUE = frozenset(("1", "t", "true", "y", "yes"))
"""Words that switch a variable on, in any case."""
REMOTE = ("tcp://", "ssh://", "http://", "https://", "npipe://")
"""Prefixes of daemon addresses that may be on another machine."""
ANSI = ("auto", "never", "always")
BUILD_MODES = {"auto": "auto", "tty": "tty", "plain": "plain", "quiet": "quiet", "rawjson": "json"}
"""Values of BUILDKIT_PROGRESS, and ours."""


class Settings:
    """The settings of one run of `composer`: `options` are the global flags, `given` the names of the command's own
    flags that were given; `project` returns the variables of the environment and the project's .env files; the
    environment wins."""

    __slots__ = ("_environ", "_given", "_options", "_project")

    def __init__(
        self,
        options: Args,
        given: set[str],
        environ: Mapping[str, str],
        project: Callable[[], Mapping[str, str]],
    ) -> None:
        self._options, self._given, self._environ, self._project = options, given, environ, project

    def value(self, name: str) -> str:
        """The variable's value, "" when it is not set."""
        if name in self._environ:
            return self._environ[name]
        from composer.load.errors import LoadError

        try:
            return self._project().get(name, "")
        except LoadError:
            return ""  # reported when the project is needed

    def is_true(self, name: str, *, project: bool = True) -> bool:
        """Whether the variable is true; without `project`, only the environment counts."""
        return (self.value(name) if project else self._environ.get(name, "")).strip().lower() in TRUE

    def check(self) -> Iterator[str]:
        """Check global flags and variables of the environment even if the command does not use them; yields warnings.
        UsageError."""
        options = self._options
        if options.no_ansi and options.ansi != "auto":
            raise UsageError('cannot specify DEPRECATED "--no-ansi" and "--ansi". Please use only "--ansi"')
        if options.workdir and options.project_directory:
            raise UsageError(
                'cannot specify DEPRECATED "--workdir" and "--project-directory". '
                'Please use only "--project-directory" instead'
            )
        if options.no_ansi:
            yield "option '--no-ansi' is DEPRECATED ! Please use '--ansi' instead."
        if options.workdir:
            yield "option '--workdir' is DEPRECATED at root level! Please use '--project-directory' instead."
        given = "" if "ansi" in options.given or options.no_ansi else self._environ.get("COMPOSE_ANSI", "")
        if given and given not in ANSI:
            yield f'COMPOSE_ANSI is "{given}", not one of {", ".join(ANSI)}: control characters are not used'
        _parallel(options, self._environ.get("COMPOSE_PARALLEL_LIMIT", ""))
        mode, ansi = self.progress(build=False), self._ansi(given)
        check_progress(mode)
        if (mode, ansi) == ("tty", "never"):
            raise UsageError("can't use --progress tty while ANSI support is disabled")
        if (mode, ansi) == ("plain", "always"):
            raise UsageError("can't use --progress plain while ANSI support is forced")

    def unused_daemon(self) -> str:
        """A warning for a user whose environment selects a daemon on another machine; "" if it does not."""
        host, name = self._environ.get("DOCKER_HOST", ""), "DOCKER_HOST"
        if not host.startswith(REMOTE):
            host, name = self._environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"
        if host in ("", "default"):
            return ""
        from composer.load.notice import DAEMON, silenced

        if DAEMON in silenced({}, self._environ):
            return ""
        return f"{name}={host} is not used: composer runs containers on this machine"

    @property
    def ansi(self) -> str:
        """--ansi, else COMPOSE_ANSI, where an unknown value means never. Raises UsageError."""
        return self._ansi("" if "ansi" in self._options.given or self._options.no_ansi else self.value("COMPOSE_ANSI"))

    def _ansi(self, variable: str) -> str:
        if self._options.no_ansi:
            return "never"
        if variable:
            return variable if variable in ANSI else "never"
        mode: str = self._options.ansi
        if mode not in ANSI:
            raise UsageError(f'invalid value "{mode}" for --ansi: one of {", ".join(ANSI)}')
        return mode

    @property
    def parallel(self) -> int:
        """--parallel, the most concurrent operations, else COMPOSE_PARALLEL_LIMIT; -1 for any number. Raises
        UsageError."""
        return _parallel(self._options, self.value("COMPOSE_PARALLEL_LIMIT"))

    def progress(self, *, build: bool) -> str:
        """--progress, else COMPOSE_PROGRESS, else for a build BUILDKIT_PROGRESS; "" for none of them. UsageError for an unknown
        BUILDKIT_PROGRESS."""
        mode: str = self._options.progress or self._environ.get("COMPOSE_PROGRESS", "")
        if build and mode in ("", "auto") and (named := self._environ.get("BUILDKIT_PROGRESS", "")):
            if named not in BUILD_MODES:
                raise UsageError(
                    f'BUILDKIT_PROGRESS: invalid progress mode "{named}", not one of {", ".join(BUILD_MODES)}'
                )
            mode = BUILD_MODES[named]
        return "quiet" if mode == "none" else mode

    def remove_orphans(self, flag: bool) -> bool:
        """--remove-orphans, else COMPOSE_REMOVE_ORPHANS."""
        return flag if "remove-orphans" in self._given else flag or self.is_true("COMPOSE_REMOVE_ORPHANS")


def _parallel(options: Args, variable: str) -> int:
    limit: int = options.parallel
    if "parallel" not in options.given and variable:
        try:
            limit = int(variable)
        except ValueError:
            raise UsageError(f'COMPOSE_PARALLEL_LIMIT must be an integer (found: "{variable}")') from None
    return limit if limit > 0 else -1
