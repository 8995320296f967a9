"""docs/cli.md and README.md describe the command line truthfully: what is refused, and only commands and flags that
exist."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from composer.cli.parsing.command_table import ALIASES, COMMANDS, REFUSED
from composer.cli.parsing.flags import parse
from composer.cli.parsing.options import EVERYWHERE, GLOBAL

TOP = Path(__file__).resolve().parents[2]
CLI = (TOP / "docs/cli.md").read_text()
REFERENCE = json.loads(Path(__file__).with_name("docker_compose_flags.json").read_text())
PAGES = ["README.md", "docs/cli.md", "docs/operations.md", "docs/rootless.md", "examples/shop/compose.yaml"]


def section(title):
    return CLI.partition(f"## {title}\n")[2].partition("\n## ")[0]


def first_cells(text):
    """The texts in backticks in the first column of a table."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield from re.findall(r"`([^`]+)`", line.split("|")[1])


def command(name):
    return module(name).COMMAND


def module(name):
    return importlib.import_module(f"composer.cli.commands.{name}")


def of_words(words):
    """`build`, or `container run` of a group."""
    name, *rest = words.split()
    return module(name).GROUP.commands[" ".join(rest)] if rest else command(name)


@pytest.mark.parametrize("what", list(first_cells(section("Refused"))))
def test_flags_documented_as_refused_are_refused(what):
    name, _, flag = what.rpartition("--")
    if not flag or not what.count("--"):
        first, *rest = what.split()
        if not rest:
            assert what in REFUSED
            return
        group = module(first).GROUP
        for word in rest[:-1]:
            group = group.find(word)
        assert rest[-1] in group.refused
        return
    flags = of_words(name.strip()).flags if name else GLOBAL
    assert next(one for one in flags if one.name == flag).refused


def test_commands_beyond_docker_compose_are_documented():
    own = {name for name in COMMANDS if name not in REFERENCE}
    assert {what.split()[0] for what in first_cells(section("Beyond docker compose"))} == own


def test_every_variable_of_ours_is_documented():
    table = (TOP / "docs/operations.md").read_text().partition("## Environment variables\n")[2]
    told = set(re.findall(r"COMPOSER_[A-Z_]+", table))
    sources = [path for package in ("composer", "engine") for path in (TOP / package).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r"\bCOMPOSER_[A-Z_]+", path.read_text())}
    assert told == used


def commands_in(page):
    """The command lines of a page: in indented blocks, in comments of an example, in backticks."""
    text = (TOP / page).read_text()
    found = re.findall(r"(?:^(?: {4}|# +)(?:.*&& )?|`)(?:\S*/)?composer ([^`#\n]+)", text, re.MULTILINE)
    return [line.strip() for line in found if not line.startswith(("is ", "needs "))]


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in commands_in(page)])
def test_command_lines_of_the_documentation_exist(page, line):
    options = parse(GLOBAL, shlex.split(line), interspersed=False)
    name, *words = options.positional
    assert name in COMMANDS or name in ALIASES, line
    if group := getattr(module(ALIASES.get(name, name)), "GROUP", None):
        one = group.find(words.pop(0))[0]
    else:
        one = command(ALIASES.get(name, name))
    args = parse((*one.flags, *EVERYWHERE), words, interspersed=one.interspersed)
    if name == "autostart":
        assert set(args.positional) <= {"enable", "disable", "status", "run", "stop"}


def test_the_readmes_list_of_commands():
    (told,) = re.findall(r"\*\*Commands\*\*: ([^.]*?) and more", (TOP / "README.md").read_text())
    words = re.sub(r"\([^)]*\)", "", told).replace("\n", " ").split(",")
    assert {word.strip() for word in words} <= set(COMMANDS)


def test_tests_that_the_page_of_releases_names():
    page = (TOP / "docs/compatibility.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| 5\.\d \|", line)]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`([^`]+)`", row.rstrip("| ").rpartition("|")[2])
        assert named, f"no test: {row}"
        assert all((TOP / "tests" / path).exists() for path in named), named
