"""Errors that end a command.

CommandError        a message for the user, and the exit code
└── UsageError      the command line itself is wrong; InvalidArgument: the value of a flag
ExitCode            no message, only an exit code (such as that of an executed process)
Detached            the same, for a terminal that was detached
"""

from __future__ import annotations

import errno
import os

from engine.errors import RAISE_OPEN_FILES, system_message


class CommandError(Exception):
    """`message` may have several lines; the first says what failed."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(CommandError):
    pass


class InvalidArgument(UsageError):
    """A value that a flag does not accept, in the words of docker compose; `flag` is written as --name or -n, --name."""

    def __init__(self, value: str, flag: str, reason: str) -> None:
        super().__init__(f'invalid argument "{value}" for "{flag}" flag: {reason}')


class ExitCode(Exception):
    """Ends the command with this code, without a message."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Detached(ExitCode):
    """The user typed the detach keys: the command ends with success, and the container keeps running."""

    def __init__(self) -> None:
        super().__init__(0)


_NO_PLACE = (
    "the working directory no longer exists: it has been removed, or removed and created again\n"
    'Change to a directory that exists. If it was created again, `cd "$PWD"` enters the new one.'
)


def describe(error: Exception) -> tuple[str, int]:
    """The message and the exit code for an error; unexpected ones are reported as internal errors."""
    if isinstance(error, CommandError):
        return str(error), error.exit_code
    code = getattr(error, "exit_code", 1)
    if type(error).__module__.startswith(("composer.", "engine.")):
        return str(error), code if isinstance(code, int) and code else 1
    if isinstance(error, FileNotFoundError) and not error.filename and not _has_working_directory():
        return _NO_PLACE, 1
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return _too_many_open(error), 1
    if message := system_message(error):
        return message, 1
    return f"internal error: {type(error).__name__}: {error}\nSet COMPOSER_DEBUG=1 to see where.", 1


def _too_many_open(error: OSError) -> str:
    """This process, in contrast to the supervisor, keeps the limit that it was started with."""
    import resource  # every command loads this file

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    subject = f"cannot open {error.filename}" if error.filename else "cannot open another file"
    return f"{subject}: EMFILE: {limit} files are open, which is the limit\n{RAISE_OPEN_FILES}"


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
