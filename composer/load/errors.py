"""Errors in a project's files.

LoadError                 one problem: what, where, what to do
├── NoFileError           (sources.py) no compose file; the project's name may still be known
└── LoadErrors            several independent ones, reported together
"""

from __future__ import annotations

from composer.load.printable import printable

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from composer.load.tree.nodes import Origin


REPORTED = 20
"""The most problems reported at once; later ones usually repeat the same mistake."""

LONGEST = 2000
"""Characters of a message, because a value that it quotes can have any length."""


class LoadError(Exception):
    """A problem in a project's files. Its text is `file:line:column: message`."""

    exit_code = 1

    def __init__(self, message: str, origin: Origin | str | None = None, hint: str = "") -> None:
        if len(message) > LONGEST:
            message = f"{message[:LONGEST]}…"
        self.message, self.origin, self.hint = message, origin, hint
        self.missing = False
        """Whether something is missing. Such a problem may be the consequence of another one."""
        super().__init__(message)

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin else ""
        return printable(f"{where}{self.message}" + (f"\n  {self.hint}" if self.hint else ""))


class LoadErrors(LoadError):
    """Several problems, in the order of the files."""

    def __init__(self, errors: Sequence[LoadError]) -> None:
        self.errors = tuple(errors)
        super().__init__(errors[0].message if errors else "")

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def each(error: LoadError) -> tuple[LoadError, ...]:
    """The problems in an error: several in LoadErrors, otherwise the error itself."""
    return error.errors if isinstance(error, LoadErrors) else (error,)


def _place(error: LoadError) -> tuple[bool, str, int, int]:
    origin = error.origin
    if origin is None or isinstance(origin, str):
        return True, "", 0, 0
    return False, origin.file, origin.line, origin.column


def raise_all(errors: Iterable[LoadError]) -> None:
    """Raise the errors: a single one as it is, several as LoadErrors in the order of their files and lines. Do nothing
    when there are none."""
    found = sorted(errors, key=_place)
    if len(found) == 1:
        raise found[0]
    if found:
        raise LoadErrors(found)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that the user probably meant, "" when none is similar."""
    from difflib import get_close_matches

    names = list(known)
    if len(names) > 300:  # comparing with thousands of words takes longer than loading the project
        names = [name for name in names if abs(len(name) - len(word)) < 2 and name[:1] == word[:1]][:300]
    near = get_close_matches(word, names, 1)
    return near[0] if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "web"?` or, when nothing is near, `; defined are: a, b`."""
    names = sorted(known)
    near = nearest(word, names)
    if near:
        return f"did you mean {near!r}?"
    return f"defined: {', '.join(names)}" if names and len(names) <= 20 else ""
