"""What a command runs in: roots, engine, project, terminal. Everything is made when first asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from composer.cli.errors import CommandError, UsageError
from engine.paths import Roots

if TYPE_CHECKING:
    from composer.cli.flags import Args
    from composer.cli.render.progress import Progress
    from composer.load.project import LoadOptions
    from composer.model import Project
    from composer.run.port import Engine
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
    ) -> None:
        self.options, self.dry_run, self._open_engine = options, dry_run, open_engine
        self.environ = os.environ if environ is None else environ
        self.stderr = stderr or sys.stderr
        self._images: dict[str, ImageConfig | None] = {}

    @cached_property
    def roots(self) -> Roots:
        given = {"COMPOSER_STATE_ROOT": self.options.state_root, "COMPOSER_RUN_ROOT": self.options.run_root}
        environ = {**self.environ, **{name: path for name, path in given.items() if path}}
        return Roots.from_environment(environ, os.geteuid())

    @cached_property
    def engine(self) -> Engine:
        return self._open_engine(self.roots)

    @property
    def ansi(self) -> str:
        return "never" if self.options.no_ansi else self.options.ansi

    def progress(self, title: str = "Running", *, quiet: bool = False) -> Progress:
        from composer.cli.render.progress import progress_for

        mode = "quiet" if quiet else self.options.progress or self.environ.get("COMPOSE_PROGRESS", "")
        return progress_for(mode, self.ansi, self.stderr, self.environ, dry_run=self.dry_run, title=title)
