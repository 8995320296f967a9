"""The program `composer`: parses global flags, runs the command, and maps errors to exit codes.

Exit codes: 0 success; 1 an error; 125, 126, 127 of `exec` and `container run`: a process could not be started; 130
Ctrl-C; of `run` and `exec`, and of `up --exit-code-from`, the process's own. COMPOSER_DEBUG=1 shows the traceback of an
error."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence

from composer import compiled
from composer.cli.errors import ExitCode, UsageError, describe
from composer.cli.parsing.flags import Args, Group, check_positional, parse
from composer.cli.parsing.guess import may_start
from composer.cli.render.guard import Guarded
from composer.cli.render.message import error_line

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from composer.cli.parsing.flags import Command
    from composer.cli.project.context import Context
    from composer.run.early_fork import EarlyFork
    from composer.run.port import Engine
    from engine.paths import Roots


WITHOUT_ENGINE = frozenset({"alpha", "completion", "config", "convert", "login", "logout", "man", "version"})
SPARED = frozenset({"complete", "completion", "man", "version"})
"""Commands that work despite invalid global settings."""
WITHOUT = {"autostart": (["enable"], ["disable"], ["status"])}
ONLY_READING = frozenset(
    {
        "complete",
        "container inspect",
        "container logs",
        "container ls",
        "events",
        "image history",
        "image inspect",
        "image ls",
        "images",
        "logs",
        "ls",
        "network inspect",
        "network ls",
        "port",
        "ps",
        "stats",
        "system df",
        "system info",
        "top",
        "volume inspect",
        "volume ls",
        "volumes",
        "wait",
    }
)
"""Commands that, for an ordinary user, enter the containers' namespace if it exists, but do not create it."""


LASTING = frozenset(
    ("build", "create", "events", "job logs", "job wait", "logs", "pull", "push", "stats", "up", "wait", "watch")
)
"""Commands that may run for long."""


def open_engine(roots: Roots) -> Engine:
    """Open the engine; no other module of the command line does."""
    from engine.api import Engine as engine

    return engine(roots)


def script() -> NoReturn:
    """The entry point. It exits without the interpreter's cleanup, which would take a tenth of the time of most
    commands."""
    # Loaded objects stay and hardly form cycles. Collecting garbage every 700 objects, Python's default, would take a
    # tenth of the time of a command or of a supervisor's start.
    gc.set_threshold(50_000, 20, 20)
    _replace_closed_streams()
    _forget_coerced_locale()
    try:
        compiled.use()
        code = main(early=_early_fork(sys.argv[1:]))
    except KeyboardInterrupt:  # before the command began
        code = 130
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code & 0xFF)


def _replace_closed_streams() -> None:
    """Open /dev/null for standard streams that the caller has closed. Files that we open would get their numbers, and
    receive our output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number, which is this one
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))


def _forget_coerced_locale() -> None:
    """Remove the LC_CTYPE that Python sets itself in the C locale (PEP 538): files and containers see the variables of
    the caller alone."""
    if os.environ.get("LC_CTYPE") == "C.UTF-8":
        with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as file:
            if b"LC_CTYPE=" not in file.read():
                del os.environ["LC_CTYPE"]


def _early_fork(words: list[str]) -> EarlyFork | None:
    """A process that prepares to supervise, for a command that will probably start containers."""
    with contextlib.suppress(OSError):  # or the working directory has been removed: the command says so
        if os.geteuid() or not may_start(words, os.environ):
            return None
        import engine.api  # noqa: F401  (both need it, so it is loaded once)
        from composer.run.early_fork import EarlyFork

        return EarlyFork(open_engine)
    return None


def main(argv: Sequence[str] | None = None, early: EarlyFork | None = None) -> int:
    """Run one command and return the exit code. `early`: what may become its supervisor. Raises nothing but the
    interpreter's SystemExit."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(Guarded, streams)
    try:
        return _run(list(sys.argv[1:] if argv is None else argv), early)
    finally:
        sys.stdout, sys.stderr = streams


def _run(argv: list[str], early: EarlyFork | None) -> int:
    style = _Style()
    try:
        try:
            return _dispatch(argv, style, early)
        finally:
            sys.stdout.flush()
    except ExitCode as end:
        return end.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:
        if os.environ.get("COMPOSER_DEBUG"):
            raise
        message, code = describe(error)
        if message:
            sys.stderr.write(error_line(message, style.progress))
        return code


class _Style:
    """How errors are printed: `progress` is the value of --progress once it is parsed."""

    progress = ""


def _command(words: list[str]) -> tuple[Command, Callable[[Context, Args], int | None], list[str]] | None:
    """The command, the function that runs it, and the words from its name on; None if the help of a group was
    printed."""
    import importlib

    from composer.cli.parsing.command_table import module_of

    module = importlib.import_module(module_of(words[0]))
    found = getattr(module, "GROUP", None) or (module.COMMAND, module.run)
    while isinstance(found, Group):
        if found.flags and words[1:2] not in ([], ["--help"], ["-h"]):
            words = [words[0], *parse(found.flags, words[1:], interspersed=False).positional]
        word = next((word for word in words[1:2] if word not in ("--help", "-h")), "")
        if not word:
            from composer.cli.parsing.help import group_help

            print(group_help(found))
            return None
        found = found.find(word)
        words = words[1:]
    command, run = found
    return command, run, words


def _dispatch(argv: list[str], style: _Style, early: EarlyFork | None) -> int:
    from composer.cli.parsing.options import EVERYWHERE, GLOBAL, check_progress

    options = parse(GLOBAL, argv, interspersed=False)
    check_progress(options.progress)
    words = options.positional
    if options.version:
        words = ["version"]
    if words and words[0] == "help":
        words = [*words[1:2], "--help"] if len(words) > 1 else []
    if not words:
        _print_help()
        return 0
    found = _command(words)
    if found is None:
        return 0
    command, run, words = found
    flags = (*EVERYWHERE, *command.flags)  # docker's -h is --hostname of run
    try:
        args = parse(flags, words[1:], interspersed=command.interspersed)
    except UsageError as error:
        raise _with_place(error, command.name) from None
    if args.help or options.help:
        from composer.cli.parsing.help import command_help

        print(command_help(command))
        return 0
    check_positional(command, args.positional)
    context = _context(options, args, early)
    if command.name not in SPARED:
        style.progress = context.settings.progress(build=False)
        _warn_of_settings(context, command)
    if os.geteuid() and command.name not in WITHOUT_ENGINE and args.positional[:1] not in WITHOUT.get(command.name, ()):
        from engine.rootless.enter import enter

        enter(context.roots, make=command.name not in ONLY_READING)
    if command.name in LASTING:
        _die_of_sigint()
    return run(context, args) or 0


def _print_help() -> None:
    from composer.cli.parsing.command_table import COMMANDS
    from composer.cli.parsing.help import general_help
    from composer.cli.parsing.options import GLOBAL

    print(general_help(GLOBAL, COMMANDS))


def _warn_of_settings(context: Context, command: Command) -> None:
    for line in context.settings.check():
        context.warn(line)
    if command.name not in WITHOUT_ENGINE and (line := context.settings.unused_daemon()):
        context.warn(line)


def _die_of_sigint() -> None:
    """Let SIGTERM act like Ctrl-C, with the same exit code, as in docker compose."""
    import signal

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def _with_place(error: UsageError, command: str) -> UsageError:
    from composer.cli.parsing.options import GLOBAL

    message = str(error)
    first = message.partition("\n")[0]
    if any(first == f"unknown flag: --{flag.name}" for flag in GLOBAL):
        message = f"{first}\nIt is a flag of composer itself: give it before {command!r}."
    return UsageError(f"{message}\nSee 'composer {command} --help'.")


def _context(options: Args, args: Args, early: EarlyFork | None) -> Context:
    from composer.cli.project.context import Context

    dry_run = bool(options.dry_run or args.dry_run)
    context = Context(options, dry_run=dry_run, open_engine=open_engine, early_fork=early)
    context.given = args.given
    context.locked = bool(getattr(args, "locked", False))
    return context
