"""The environment in which we run git(1)."""

from __future__ import annotations

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

_OTHERS = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS",
)  # fmt: skip
"""Variables that select another repository, as in a hook (githooks(5)): git would write to that one."""


def without_repository(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for our own repositories, without prompts on the terminal. Configuration and credentials are kept."""
    return {name: value for name, value in environ.items() if name not in _OTHERS} | {"GIT_TERMINAL_PROMPT": "0"}
