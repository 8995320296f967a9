"""Parsing, and our tables compared with docker compose's own list of commands and flags."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composer.cli.commands.man import commands_of
from composer.cli.errors import UsageError
from composer.cli.parsing.command_table import ALIASES, COMMANDS, REFUSED, module_of
from composer.cli.parsing.flags import Command, Flag, Group, parse
from composer.cli.parsing.options import EVERYWHERE, GLOBAL

REFERENCE: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("docker_compose_flags.json").read_text()
)
DOCKER: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("docker_flags.json").read_text())
"""The commands of docker's groups that composer has, with their flags and shorthands (Docker 28.2, buildx 0.29)."""
UNLISTED = {
    "create": {"y": "yes"},
    "down": {"volume": "volumes"},
    "exec": {"no-TTY": "no-tty"},
    "run": {"labels": "label", "no-TTY": "no-tty", "volumes": "volume"},
    "up": {"y": "yes"},
}
"""Names that docker compose accepts although no --help shows them: found by trying them on the real program."""
KINDS = {"bool": "bool", "string": "string", "stringArray": "strings", "list": "strings", "int": "int"}

FLAGS = (
    Flag("all", "", short="a"),
    Flag("quiet", "", short="q"),
    Flag("file", "", "strings", short="f"),
    Flag("name", "", "string", short="n"),
    Flag("timeout", "", "int", short="t"),
    Flag("index", "", "uint", default=0),
    Flag("on", "", default=True),
    Flag("tpm", "", refused="there is no TPM here"),
)


def test_long_short_and_clustered_flags() -> None:
    args = parse(
        FLAGS, ["-qa", "-f", "one", "--file=two", "-fthree", "-f=four", "web", "-t-5", "--on=false", "--name", ""]
    )
    assert (args.all, args.quiet, args.file, args.timeout, args.on) == (
        True,
        True,
        ["one", "two", "three", "four"],
        -5,
        False,
    )
    assert args.name == "" and "name" in args.given and "index" not in args.given
    assert args.positional == ["web"]


def test_a_cluster_may_end_in_a_flag_with_a_value() -> None:
    args = parse(FLAGS, ["-aqn", "x", "-aqnyz"])
    assert args.all and args.quiet and args.name == "yz"


def test_flags_end_at_two_dashes_and_at_the_first_word_when_not_interspersed() -> None:
    assert parse(FLAGS, ["web", "--", "-a", "--b"]).positional == ["web", "-a", "--b"]
    args = parse(FLAGS, ["-a", "web", "ls", "-q", "--", "--b"], interspersed=False)
    assert args.positional == ["web", "ls", "-q", "--", "--b"] and args.all and not args.quiet
    assert parse(FLAGS, ["-"]).positional == ["-"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--timeuot"], "unknown flag: --timeuot\nDid you mean --timeout?"),
        (["-ax"], "unknown shorthand flag: 'x' in -ax"),
        (["--name"], "flag needs an argument: -n, --name"),
        (["-n"], "flag needs an argument: -n, --name"),
        (["--all=maybe"], 'invalid argument "maybe" for "-a, --all" flag'),
        (["-t", "abc"], 'invalid argument "abc" for "-t, --timeout" flag'),
        (["--index", "-1"], "must not be negative"),
        (["--index", "²"], "expected a whole number"),
        (["--index", "9" * 400], "value out of range"),
        (["--tpm"], "--tpm is not supported: there is no TPM here"),
    ],
)
def test_wrong_usage_is_explained(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(FLAGS, argv)
    assert message in str(caught.value)


@given(st.lists(st.text(max_size=6), max_size=6))
def test_any_words_parse_or_end_in_a_usage_error(argv: list[str]) -> None:
    try:
        args = parse(FLAGS, argv)
    except UsageError as error:
        assert str(error)
    else:
        assert all(isinstance(word, str) for word in args.positional)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("rmi", "composer image rm"),
        ("inspect", "composer container inspect"),
        ("pss", "composer ps"),
        ("xyzzy", "--help"),
    ],
)
def test_an_unknown_command_names_the_right_one(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        module_of(word)
    assert hint in str(caught.value)


def command_of(name: str) -> Command:
    module = importlib.import_module(f"composer.cli.commands.{ALIASES.get(name, name)}")
    assert isinstance(module.COMMAND, Command)
    return module.COMMAND


def commands() -> list[Command]:
    """All commands, including those of groups."""
    modules = (importlib.import_module(module_of(name)) for name in COMMANDS)
    return [command for module in modules for command in commands_of(module)]


def check(ours: dict[str, Flag], theirs: dict[str, list[str]], where: str) -> None:
    for name, (short, kind) in theirs.items():
        flag = ours.get(name)
        assert flag is not None, f"{where}: no --{name}"
        assert flag.short == short, f"{where}: --{name} has shorthand {flag.short!r}"
        if not flag.refused:
            expected = KINDS.get(kind, flag.kind)
            got = "int" if flag.kind == "uint" else flag.kind
            assert got == expected, f"{where}: --{name} is {got}, not {expected}"


def test_global_flags_are_docker_composes() -> None:
    check({flag.name: flag for flag in GLOBAL}, REFERENCE[""], "composer")


@pytest.mark.parametrize("name", [name for name in REFERENCE if name and name.split()[0] not in REFUSED])
def test_every_flag_of_docker_compose_is_honoured_or_refused(name: str) -> None:
    group, _, rest = name.partition(" ")
    assert group in COMMANDS or name in ALIASES, f"no command {name}"
    module = importlib.import_module(module_of(group))
    found = getattr(module, "GROUP", None)
    for word in rest.split():
        assert isinstance(found, Group)
        inner = found.find(word)
        found = inner if isinstance(inner, Group) else inner[0]
    if isinstance(found, Group):
        assert not REFERENCE[name]
        return
    command = found or module.COMMAND
    check({flag.name: flag for flag in command.flags}, REFERENCE[name], name)


@pytest.mark.parametrize("name", DOCKER)
def test_every_flag_of_dockers_groups_is_honoured_or_refused(name: str) -> None:
    group, _, rest = name.partition(" ")
    ours = {flag.name: flag for flag in importlib.import_module(module_of(group)).GROUP.commands[rest].flags}
    for flag, short in DOCKER[name].items():
        assert flag in ours and ours[flag].short == short, f"{name}: --{flag}"


@pytest.mark.parametrize(("name", "alias"), [(name, alias) for name, given in UNLISTED.items() for alias in given])
def test_hidden_flags_are_accepted(name: str, alias: str) -> None:
    (flag,) = [flag for flag in command_of(name).flags if flag.name == UNLISTED[name][alias]]
    words = [f"--{alias}"] if flag.kind == "bool" else [f"--{alias}", "x"]
    assert UNLISTED[name][alias] in parse(command_of(name).flags, words).given


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_no_two_flags_of_a_command_share_a_name(command: Command) -> None:
    assert f"{command.usage} ".startswith(f"{command.name} ")
    flags = (*command.flags, *EVERYWHERE)
    names = [word for flag in flags for word in (flag.name, *flag.aliases)]
    letters = [flag.short for flag in command.flags if flag.short]
    assert len(names) == len(set(names)) and len(letters) == len(set(letters))


def test_every_refusal_is_documented() -> None:
    told = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    refused = [f"`{one.name} --{flag.name}`" for one in commands() for flag in one.flags if flag.refused]
    refused += [f"`--{flag.name}`" for flag in GLOBAL if flag.refused] + [f"`{name}`" for name in REFUSED]
    assert [text for text in refused if text not in told] == []
