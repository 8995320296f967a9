"""COMPOSE_… variables that stand for flags: those of the environment, then those of the project's .env files. Flags take
precedence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from composer.cli.errors import UsageError

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from composer.cli.parsing.flags import Args

TRUE = frozenset(("1", "t", "true", "y", "yes"))
"""Words that switch a variable on, in any case."""
ANSI = ("auto", "never", "always")
BUILD_MODES = {"auto": "auto", "tty": "tty", "plain": "plain", "quiet": "quiet", "rawjson": "json"}
"""Values of BUILDKIT_PROGRESS, and ours."""


class Settings:
    """Of one run of `composer`: `options` are the global flags, `given` the names of the command's own flags that were given;
    `project` gives the variables of the project's .env files with those of the environment over them."""

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

    @property
    def ansi(self) -> str:
        """--ansi, else COMPOSE_ANSI. UsageError."""
        if self._options.no_ansi:
            return "never"
        mode: str = self._options.ansi
        if "ansi" not in self._options.given:
            mode = self._environ.get("COMPOSE_ANSI") or mode
        if mode not in ANSI:
            raise UsageError(f'invalid value "{mode}" for --ansi: one of {", ".join(ANSI)}')
        return mode

    @property
    def parallel(self) -> int:
        """The most operations at once, else COMPOSE_PARALLEL_LIMIT; -1 for any number. UsageError."""
        limit: int = self._options.parallel
        if "parallel" not in self._options.given and (text := self.value("COMPOSE_PARALLEL_LIMIT")):
            try:
                limit = int(text)
            except ValueError:
                raise UsageError(f'COMPOSE_PARALLEL_LIMIT must be an integer (found: "{text}")') from None
        return limit if limit > 0 else -1

    def progress(self, *, build: bool) -> str:
        """--progress, else COMPOSE_PROGRESS, else for a build BUILDKIT_PROGRESS; "" for none of them."""
        mode: str = self._options.progress or self._environ.get("COMPOSE_PROGRESS", "")
        if build and mode in ("", "auto"):
            mode = BUILD_MODES.get(self._environ.get("BUILDKIT_PROGRESS", ""), mode)
        return mode

    def remove_orphans(self, flag: bool) -> bool:
        """--remove-orphans, else COMPOSE_REMOVE_ORPHANS."""
        return flag if "remove-orphans" in self._given else flag or self.is_true("COMPOSE_REMOVE_ORPHANS")
