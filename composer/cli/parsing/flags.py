"""Flags as data, parsed as in docker compose (the conventions of GNU getopt_long(3) and of pflag).

    --name value   --name=value   -n value   -nvalue   -n=value   -abc (cluster)   --bool=false   -- (end of flags)

A command's table has every flag of docker compose; unsupported ones have `refused`, the reason that an error gives. Not
argparse: importing it takes longer than all of `composer version`, and its abbreviations, clusters and messages differ
from docker compose's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from composer.cli.errors import InvalidArgument, UsageError

TYPE_CHECKING = False  # of typing, whose import takes 5 ms
if TYPE_CHECKING:
    from typing import Any

    from composer.cli.project.context import Context

TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
NO_SWARM = "composer has no Swarm mode"
"""Why flags for clusters are refused."""


class Flag:
    """One flag. `kind`: bool, string, strings (repeatable), int, uint. `attribute` is its name in the result. `aliases`
    are names that docker compose accepts without documenting them. `accepted` is the only value that `refused` does not
    refuse."""

    __slots__ = (
        "accepted", "aliases", "attribute", "default", "help", "hidden", "kind", "metavar", "name", "refused", "short",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        help: str,
        kind: str = "bool",
        *,
        short: str = "",
        default: Any = None,
        metavar: str = "",
        hidden: bool = False,
        refused: str = "",
        accepted: str = "",
        attribute: str = "",
        aliases: tuple[str, ...] = (),
    ) -> None:
        self.name, self.help, self.kind, self.short = name, help, kind, short
        self.default: Any = default if default is not None else {"bool": False, "string": "", "strings": ()}.get(kind)
        self.metavar, self.hidden, self.refused, self.accepted = metavar, hidden, refused, accepted
        self.attribute = attribute or name.replace("-", "_")
        self.aliases = aliases

    def __str__(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Args:
    """The parsed arguments: an attribute for each flag, `positional`, and `given` (the names of the flags that were
    set)."""

    given: set[str]
    positional: list[str]

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.given, self.positional = set(), []
        for flag in flags:
            setattr(self, flag.attribute, list(flag.default) if flag.kind == "strings" else flag.default)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None: ...


class Command:
    """A module's description of its command, as `COMMAND`.

    `positional` is the (minimum, maximum) number of arguments, None for no maximum. With `interspersed` False, flags
    end at the first positional argument, so that `exec web ls -l` passes -l to ls. `actions`: what the possible values
    of the first argument do, for `--help`.
    """

    __slots__ = ("actions", "flags", "interspersed", "name", "positional", "short", "usage")

    def __init__(
        self,
        name: str,
        short: str,
        usage: str,
        flags: Sequence[Flag] = (),
        *,
        positional: tuple[int, int | None] = (0, None),
        interspersed: bool = True,
        actions: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.short, self.usage, self.actions = name, short, usage, dict(actions or {})
        self.flags, self.positional, self.interspersed = tuple(flags), positional, interspersed


Runner = Callable[["Context", Args], int]


class Group:
    """A module's description of a group of commands (`composer image ls`), as `GROUP`: name → the command and the
    function that runs it, or a nested group. `aliases` are docker's other names for them, `refused` docker's commands that
    do not exist here, with what to use instead. `flags` stand before the command's name, and have no effect."""

    __slots__ = ("_entries", "aliases", "flags", "name", "refused", "short")

    def __init__(
        self,
        name: str,
        short: str,
        entries: Mapping[str, tuple[Command, Runner] | Group],
        aliases: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
        flags: Sequence[Flag] = (),
    ) -> None:
        self.refused, self.flags = dict(refused or {}), flags
        self.name, self.short, self._entries, self.aliases = name, short, dict(entries), dict(aliases or {})

    @property
    def commands(self) -> dict[str, Command]:
        """The commands by the words after the group's name."""
        found: dict[str, Command] = {}
        for name, entry in self._entries.items():
            if isinstance(entry, Group):
                found |= {f"{name} {inner}": command for inner, command in entry.commands.items()}
            else:
                found[name] = entry[0]
        return found

    def find(self, word: str) -> tuple[Command, Runner] | Group:
        """The command. For an unknown one, raises UsageError with the nearest name."""
        found = self._entries.get(self.aliases.get(word, word))
        if found is None and word in self.refused:
            raise UsageError(f"composer {self.name} {word} is not supported: {self.refused[word]}")
        if found is None:
            from composer.cli.parsing.suggest import nearest

            near = nearest(word, self._entries)
            hint = f"Did you mean: composer {self.name} {near}?" if near else f"See 'composer {self.name} --help'."
            raise UsageError(f'unknown command: "composer {self.name} {word}"\n{hint}')
        return found


def parse(flags: Sequence[Flag], argv: Sequence[str], *, interspersed: bool = True) -> Args:
    """Parse `argv`. Raises UsageError for unknown, malformed or refused flags."""
    args = Args(flags)
    by_name = {name: flag for flag in flags for name in (flag.name, *flag.aliases)}
    by_short = {flag.short: flag for flag in flags if flag.short}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            args.positional += rest
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flag = by_name.get(name)
            if flag is None:
                raise UsageError(f"unknown flag: --{name}{_nearest(name, flags)}")
            _set(args, flag, value if equals else None, rest)
        elif word.startswith("-") and word != "-":
            _cluster(args, by_short, word[1:], rest, flags)
        else:
            args.positional.append(word)
            if not interspersed:
                args.positional += rest
                break
    return args


def _nearest(name: str, flags: Sequence[Flag]) -> str:
    """A second line with the flag that was probably meant; "" if none is similar."""
    from composer.cli.parsing.suggest import nearest

    near = nearest(name, (flag.name for flag in flags if not flag.hidden))
    return f"\nDid you mean --{near}?" if near else ""


def _without_short(letter: str, flags: Sequence[Flag]) -> str:
    """The same for a letter: a number means a signal, as for kill(1); otherwise the only flag that begins with the
    letter."""
    if letter.isdecimal() and any(flag.name == "signal" for flag in flags):
        return f"\nDid you mean --signal {letter}?"
    found = [flag.name for flag in flags if not flag.hidden and not flag.short and flag.name.startswith(letter)]
    return f"\nDid you mean --{found[0]}?" if len(found) == 1 else ""


def _cluster(args: Args, by_short: dict[str, Flag], letters: str, rest: list[str], flags: Sequence[Flag]) -> None:
    """Parse -abc: booleans up to the first flag with a value, which takes the rest."""
    whole = letters
    while letters:
        flag, letters = by_short.get(letters[0]), letters[1:]
        if flag is None:
            unknown = whole[len(whole) - len(letters) - 1]
            raise UsageError(f"unknown shorthand flag: {unknown!r} in -{whole}{_without_short(unknown, flags)}")
        if letters.startswith("="):
            _set(args, flag, letters[1:], rest)
            return
        if flag.kind == "bool":
            _set(args, flag, None, rest)
        else:
            _set(args, flag, letters or None, rest)
            return


def _set(args: Args, flag: Flag, value: str | None, rest: list[str]) -> None:
    if flag.refused and not flag.accepted and not (flag.kind == "bool" and value in FALSE):
        raise UsageError(f"--{flag.name} is not supported: {flag.refused}")
    args.given.add(flag.name)
    if flag.kind == "bool":
        if value is not None and value not in TRUE and value not in FALSE:
            raise InvalidArgument(value, str(flag), "expected true or false")
        setattr(args, flag.attribute, value is None or value in TRUE)
        return
    if value is None:
        if not rest:
            raise UsageError(f"flag needs an argument: {flag}")
        value = rest.pop(0)
    if flag.refused and value != flag.accepted:
        raise UsageError(f"--{flag.name} {value} is not supported: {flag.refused}")
    if flag.kind == "strings":
        getattr(args, flag.attribute).append(value)
    elif flag.kind in ("int", "uint"):
        setattr(args, flag.attribute, _integer(flag, value))
    else:
        setattr(args, flag.attribute, value)


def _integer(flag: Flag, value: str) -> int:
    try:
        number = int(value, 10)
    except ValueError:
        raise InvalidArgument(value, str(flag), "expected a whole number") from None
    if abs(number) >= 1 << 63:
        raise InvalidArgument(value, str(flag), "value out of range")
    if flag.kind == "uint" and number < 0:
        raise InvalidArgument(value, str(flag), "must not be negative")
    return number


def check_positional(command: Command, positional: Sequence[str]) -> None:
    """docker compose's messages for too few and too many arguments."""
    least, most = command.positional
    if len(positional) < least:
        raise UsageError(
            f"'composer {command.name}' requires at least {least} argument{'s' * (least != 1)}\n\n"
            f"Usage:  composer {command.usage}\n\nSee 'composer {command.name} --help' for more information"
        )
    if most is not None and len(positional) > most:
        if most == 0:
            raise UsageError(f'unknown command "{positional[0]}" for "composer {command.name}"')
        raise UsageError(
            f"'composer {command.name}' accepts at most {most} argument{'s' * (most != 1)}, received {len(positional)}"
        )
