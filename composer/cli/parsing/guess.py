"""Guesses from a command line that nothing has parsed yet. A wrong guess costs time only."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping

STARTING = frozenset({"create", "up"})
WITHOUT_START = frozenset({"--dry-run", "--help", "-h", "help", "version"})


def may_start(words: list[str], environ: Mapping[str, str]) -> bool:
    """Whether the command will probably start containers of a project that has no supervisor yet."""
    if STARTING.isdisjoint(words) or not WITHOUT_START.isdisjoint(words):
        return False
    from engine.paths import RUN_ROOT, Roots  # few commands come here

    if root := _value(words, "--run-root"):
        environ = {**environ, RUN_ROOT: root}
    roots = Roots.from_environment(environ, os.geteuid())
    return not os.path.exists(roots.supervisor_socket(_project(words, environ)))


def _project(words: list[str], environ: Mapping[str, str]) -> str:
    """The project's name, unless a file gives another one."""
    given = _value(words, "--project-name", "-p") or environ.get("COMPOSE_PROJECT_NAME")
    if given:
        return given
    from composer.load.project_name import normalised  # most commands do not come here

    file = _value(words, "--file", "-f") or environ.get("COMPOSE_FILE", "")
    folder = _value(words, "--project-directory") or os.path.dirname(file) or "."
    return normalised(os.path.basename(os.path.abspath(folder)))


def _value(words: list[str], *flags: str) -> str:
    """The value of a flag that is given as a separate word."""
    for flag, value in itertools.pairwise(words):
        if flag in flags:
            return value
    return ""
