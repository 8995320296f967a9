"""composer login: check credentials at a registry and store them, in a credential helper or ~/.docker/config.json."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from composer.cli.errors import CommandError, UsageError
from composer.cli.parsing.command_table import command
from composer.cli.parsing.flags import Args, Flag

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = command(
    "login",
    "login [OPTIONS] [SERVER]",
    (
        Flag("password", "Password or personal access token; --password-stdin keeps it out of the list of processes",
             "string", short="p"),
        Flag("password-stdin", "Take the password or personal access token from stdin"),
        Flag("username", "User name", "string", short="u"),
    ),
    positional=(0, 1),
)  # fmt: skip


def run(context: Context, args: Args) -> int:
    server = args.positional[0] if args.positional else ""
    if args.password_stdin:
        if args.password:
            raise UsageError("--password and --password-stdin are mutually exclusive")
        if not args.username:
            raise UsageError("the --password-stdin option requires the --username option")
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        if args.password:
            context.warn("using --password on the command line is insecure: use --password-stdin")
        password = args.password
    username = args.username or _prompt("Username: ")
    password = password or _prompt("Password: ", hidden=True)
    if not username or not password:
        raise CommandError("username and password must be given")
    place = context.engine.login(server, username, password) if not context.dry_run else ""
    if place.startswith("/"):
        context.warn(f"the password is stored unencrypted in {place}; configure a credential helper to change that")
    print("Login Succeeded")
    return 0


def _prompt(prompt: str, *, hidden: bool = False) -> str:
    if not os.isatty(0):
        raise CommandError("cannot ask for a user name and a password: stdin is not a terminal")
    if hidden:
        import getpass

        return getpass.getpass(prompt)
    print(prompt, end="", flush=True)
    return sys.stdin.readline().strip()
