"""composer complete: completions of a command line, for the shell scripts of `composer completion`.

`composer complete -- WORD...`: the words after `composer`, the last one being typed ("" for a new one). One candidate a line,
with a tab and a description where there is one. It fails silently, because users do not read errors while typing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from composer.cli.parsing.flags import Args, Command, Flag, Group, parse

if TYPE_CHECKING:
    from composer.cli.project.context import Context

COMMAND = Command("complete", "Print the completions of a command line", "complete -- WORD...", interspersed=False)

VALUES = {
    "ansi": ("auto", "always", "never"),
    "filter": ("status=running", "status=exited", "status=paused"),
    "format": ("json", "table", "yaml"),
    "policy": ("missing", "always"),
    "progress": ("auto", "tty", "plain", "json", "quiet"),
    "pull": ("always", "missing", "never"),
    "rmi": ("local", "all"),
    "signal": ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM", "SIGUSR1", "SIGUSR2"),
    "status": ("created", "dead", "exited", "paused", "removing", "restarting", "running"),
}
"""Flag → the values that it has."""
OF_SERVICES = frozenset(("attach", "exit-code-from", "no-attach", "scale"))
"""Flags whose values are services."""


def run(context: Context, args: Args) -> int:
    try:
        candidates = list(_candidates(context, args.positional or [""]))
    except Exception:  # an invalid file or flag: no candidates
        candidates = []
    for word, text in candidates:
        print(f"{word}\t{text}" if text else word)
    return 0


def _candidates(context: Context, words: list[str]) -> Iterator[tuple[str, str]]:
    from composer.cli.parsing.command_table import COMMANDS
    from composer.cli.parsing.options import EVERYWHERE, GLOBAL

    *before, current = words
    name, given = _command(GLOBAL, before)
    if name is None:
        found = _values(context, GLOBAL, before, current)
        if found is None:
            found = _flags(GLOBAL) if current.startswith("-") else COMMANDS.items()
    else:
        group, command, given = _loaded(name, given)
        if group is not None:
            yield from ((word, one.short) for word, one in group.commands.items() if word.startswith(current))
            return
        flags = (*command.flags, *EVERYWHERE)
        context = _with_options(context, before[: len(before) - len(given) - 1])
        found = _values(context, flags, given, current)
        if found is None:
            found = _flags(flags) if current.startswith("-") else _positional(context, command, given)
    head, equals, _ = current.partition("=")
    prefix = f"{head}=" if equals and current.startswith("--") else ""
    for word, text in found:
        if f"{prefix}{word}".startswith(current):
            yield f"{prefix}{word}", text


def _loaded(name: str, given: list[str]) -> tuple[Group | None, Command, list[str]]:
    """The command and the words after it; or the group, if its command is not typed yet."""
    import importlib

    from composer.cli.parsing.command_table import module_of

    module = importlib.import_module(module_of(name))
    if (group := getattr(module, "GROUP", None)) is None:
        return None, module.COMMAND, given
    found: Any = group
    while isinstance(found, Group):
        if not given:
            return found, next(iter(found.commands.values())), []
        found, given = found.find(given[0]), given[1:]
    return None, found[0], given


def _command(flags: Iterable[Flag], words: list[str]) -> tuple[str | None, list[str]]:
    """The command's name, None if it is not typed yet, and the words after it."""
    takes = _taking_values(flags)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            return word, rest
        if word in takes and rest:
            rest.pop(0)
    return None, []


def _taking_values(flags: Iterable[Flag]) -> dict[str, Flag]:
    """--name and -n of the flags that take a value."""
    found = {}
    for flag in flags:
        if flag.kind != "bool":
            found[f"--{flag.name}"] = flag
            if flag.short:
                found[f"-{flag.short}"] = flag
    return found


def _values(
    context: Context, flags: Iterable[Flag], before: list[str], current: str
) -> Iterable[tuple[str, str]] | None:
    """Candidates for a flag's value; None when `current` is not a flag's value."""
    takes = _taking_values(flags)
    head, equals, _ = current.partition("=")
    flag = takes.get(before[-1]) if before else None
    if flag is None and equals:
        flag = takes.get(head)
    if flag is None:
        return None
    if flag.name == "profile":
        return [(name, "") for name in _profiles(context)]
    if flag.name in OF_SERVICES:
        return [(name, "") for name in _services(context)]
    if flag.name == "project-name":
        return [(name, "") for name in context.engine.groups()]
    return [(value, "") for value in VALUES.get(flag.name, ())]


def _flags(flags: Iterable[Flag]) -> Iterable[tuple[str, str]]:
    return [(f"--{flag.name}", flag.help) for flag in flags if not flag.hidden and not flag.refused]


def _positional(context: Context, command: Command, given: list[str]) -> Iterable[tuple[str, str]]:
    """Services, or only running ones for commands that need a running container; each once."""
    if command.name == "completion":
        return [(shell, "") for shell in ("bash", "fish", "zsh")]
    words = parse(command.flags, given, interspersed=command.interspersed).positional
    _, most = command.positional
    if " " in command.name and (most is None or len(words) < most) and (command.interspersed or not words):
        return [(name, "") for name in _objects(context, command, len(words)) if name not in words]
    if "SERVICE" not in command.usage.upper() or (most is not None and len(words) >= most):
        return []
    if not command.interspersed and words:
        return []
    suffix = ":" if command.name == "cp" else "=" if command.name == "scale" else ""
    running = command.name in ("attach", "exec", "kill", "pause", "stop", "top", "unpause", "wait")
    names = (_running(context) if running else []) or _services(context)
    if command.name == "run" and (desired := context.desired_or_none) is not None:
        names = [*names, *sorted({*desired.jobs, *desired.disabled_jobs})]
    return [(f"{name}{suffix}", "") for name in names if name not in words]


def _objects(context: Context, command: Command, place: int) -> Iterable[str]:
    """Arguments of a group's command: names of containers, images, networks or volumes of all projects."""
    named = [word.strip("[]") for word in command.usage.split() if word.isupper() and word != "[OPTIONS]"]
    argument = named[min(place, len(named) - 1)] if named else ""
    if argument.startswith("CONTAINER"):
        groups = context.engine.groups()
        return sorted(record.spec.name for group in groups for record in context.engine.containers(group))
    if argument.startswith(("IMAGE", "SOURCE_IMAGE", "NAME[", "REPOSITORY", "TARGET_IMAGE")):
        from composer.view.images import familiar

        return sorted(familiar(tag) for image in context.engine.images() for tag in image.tags)
    if argument.startswith("NETWORK"):
        return sorted(record.spec.name for record in context.engine.networks())
    if argument.startswith("JOB"):
        from composer.cli.project.jobs import listed

        return [job.name for job in listed(context)]
    if argument.startswith("VOLUME"):
        return sorted(record.spec.name for record in context.engine.volumes())
    return ()


def _with_options(context: Context, words: list[str]) -> Context:
    """A context with the global flags on the command line, such as another file or project."""
    from composer.cli.parsing.options import GLOBAL

    return context.with_options(parse(GLOBAL, words, interspersed=False)) if words else context


def _services(context: Context) -> list[str]:
    return sorted(context.declared_services() or _running(context))


def _running(context: Context) -> list[str]:
    from composer.cli.project.containers import is_up
    from composer.plan.labels import service_of

    return sorted({service_of(record) for record in context.containers() if is_up(record)} - {""})


def _profiles(context: Context) -> list[str]:
    project = context.project
    services = [*project.services.values(), *project.disabled.values()]
    jobs = [*project.jobs.values(), *project.disabled_jobs.values()]
    return sorted({profile for one in (*services, *jobs) for profile in one.profiles})
