"""Errors that end a command.

CommandError        a message for the user, and the exit code
└── UsageError      the command line itself is wrong
ExitCode            no message, only an exit code (such as that of an executed process)
"""

from __future__ import annotations


class CommandError(Exception):
    """`message` may have several lines; the first says what failed."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(CommandError):
    pass


class ExitCode(Exception):
    """Ends the command with this code, without a message."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
